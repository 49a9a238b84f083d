# A small workflow that imports the project's as a module: eight of its jobs, on transcribed figures, without torch.
# It overrides the configuration and one rule, as any importing workflow can, and adds jobs to test a cluster with.
module tilecast:
    snakefile:
        "../../Snakefile"
    config:
        {"artifact": {"sources": ["published"]}, "graphs": {"cells": []}, **config}


use rule * from tilecast


use rule evaluate_errors from tilecast with:
    input:
        labels="results/tidy/labels.csv",
        predictions=["results/tidy/predictions.csv"],


use rule manifest from tilecast with:
    input:
        "results/figures/fusion.svg",
        "results/figures/amd.svg",
        "results/tables/mape.csv",


onstart:
    tilecast.onstart(log=log)


onerror:
    tilecast.onerror(log=log)


rule smoke:
    default_target: True
    input:
        "results/figures/fusion.svg",
        "results/figures/amd.svg",
        "results/tables/mape.csv",


rule gpu:
    output:
        "results/gpu_{number}.txt",
    resources:
        gpu=1,
    shell:
        "echo $CUDA_VISIBLE_DEVICES > {output}"


rule broken:
    output:
        "results/broken.txt",
    shell:
        "echo half > {output}; exit 3"


rule greedy:
    output:
        "results/greedy.txt",
    resources:
        mem_mb=100,
    shell:
        "python3 -c 'import time; held = bytearray(500 << 20); time.sleep(60)'; echo done > {output}"


rule patient:
    output:
        "results/patient.txt",
    shell:
        "while ! test -e go; do sleep 0.2; done; echo done > {output}"
