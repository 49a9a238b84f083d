# What the default run makes of this stage, and what of it the page reads.
PARALLEL_TARGETS = []
PARALLEL_REPORT = []


rule collectives_validation:
    input:
        measured=shipped("resources/published/nccl_collectives.csv"),
        curves=shipped("resources/pretrained/collectives.json"),
        systems=shipped_folder("config/systems", "*.yaml"),
        code=code("parallel_collectives"),
    output:
        cells="results/parallel/collectives.csv",
        mape="results/parallel/collectives_mape.csv",
    log:
        "results/logs/collectives_validation.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/parallel_collectives.py"
