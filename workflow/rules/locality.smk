# Every study by name; a file of the user's own takes part where the configuration names it.
SHIPPED_STUDIES = shipped_folder("config/studies/numa", "*.yaml")
STUDIES = {Path(file).stem: file for file in SHIPPED_STUDIES}
STUDY = Path(settings.numa.study).stem
if STUDY not in STUDIES:
    STUDIES[STUDY] = settings.numa.study
if STUDY in ("manifests", "record", "newest"):
    stop(
        f"{settings.numa.study}: results/numa/{STUDY} is taken; give the study another name"
    )
OVERRIDES = settings.numa.overrides()


remembered("locality/study", STUDIES.values(), expanded, OVERRIDES)

# Apart from the folder that a study makes: a file in there would pass for the study, and nothing would be measured.
MANIFESTS = [f"results/numa/manifests/{name}.csv" for name in STUDIES]
RECORD_SHIPPED = "resources/measured/numa/quick_test.json"
# The newest study that was run here, by the workflow or by `tilecast numa run`: shown beside the record.
RUN_HERE = sorted(
    Path("results/measured/numa").glob("*/measured.json"),
    key=lambda file: file.stat().st_mtime,
)
NEWEST = [str(file) for file in RUN_HERE[-1:] if not settings.numa.run]
# What the default run makes of this stage, and what of it the page reads.
NUMA_REPORT = [
    "results/numa/topology.json",
    "results/numa/counts.csv",
    "results/numa/arithmetic.csv",
    "results/numa/predicted.csv",
    "results/numa/record/runs.csv",
    "results/numa/record/comparison.csv",
    "results/numa/record/against.csv",
    "results/numa/record/profiles.csv",
    "results/numa/record/summary.json",
    *expand(
        "results/numa/newest/{name}",
        name=(
            ["runs.csv", "comparison.csv", "profiles.csv", "summary.json"]
            if NEWEST
            else []
        ),
    ),
]
NUMA_TARGETS = [*MANIFESTS, *NUMA_REPORT]


rule locality_manifests:
    input:
        studies=list(STUDIES.values()),
    output:
        manifests=MANIFESTS,
        counts="results/numa/counts.csv",
    log:
        "results/logs/locality_manifests.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("locality_manifests"),
        overrides=OVERRIDES,
    script:
        "../scripts/locality_manifests.py"


rule locality_topology:
    input:
        # Where nothing is measured, the host that the record is of: this one may change between two runs.
        record=[] if LIVE or settings.numa.run else shipped(RECORD_SHIPPED),
    output:
        "results/numa/topology.json",
    log:
        "results/logs/locality_topology.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("locality_topology"),
    script:
        "../scripts/locality_topology.py"


rule locality_predict:
    input:
        hosts=shipped("resources/published/numa_hosts.csv"),
        limits=shipped("resources/published/numa_limits.csv"),
        studies=SHIPPED_STUDIES,
        weights=weights("tilecast"),
    output:
        predicted="results/numa/predicted.csv",
        arithmetic="results/numa/arithmetic.csv",
    log:
        "results/logs/locality_predict.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("locality_predict"),
        figures=FIGURES,
    script:
        "../scripts/locality_predict.py"


# `snakemake results/numa/quick_test` runs a study. Finished runs are kept beside the results, so that a study that was
# interrupted, or whose tables are made anew, repeats none of them; --forcerun locality_study starts afresh.
rule locality_study:
    input:
        study=lambda wildcards: STUDIES[wildcards.study],
    output:
        directory("results/numa/{study}"),
    log:
        "results/logs/locality_study_{study}.log",
    wildcard_constraints:
        study="|".join(STUDIES),
    conda:
        "../../envs/torch.yaml"
    threads: all_cores()
    resources:
        gpu=1,
    params:
        *code("locality_study"),
        overrides=OVERRIDES,
        device=settings.numa.device,
        state=lambda wildcards, input: f"results/measured/numa/{wildcards.study}",
        fresh=lambda wildcards, input, output: not settings.numa.resume
        or forced("locality_study", output[0]),
    script:
        "../scripts/locality_study.py"


rule locality_record:
    input:
        record=(
            f"results/numa/{STUDY}" if settings.numa.run else shipped(RECORD_SHIPPED)
        ),
    output:
        runs="results/numa/record/runs.csv",
        comparison="results/numa/record/comparison.csv",
        against="results/numa/record/against.csv",
        profiles="results/numa/record/profiles.csv",
        timeline="results/numa/record/timeline.csv",
        summary="results/numa/record/summary.json",
    log:
        "results/logs/locality_record.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("locality_record"),
    script:
        "../scripts/locality_record.py"


if NEWEST:

    rule locality_newest:
        input:
            record=NEWEST,
        output:
            runs="results/numa/newest/runs.csv",
            comparison="results/numa/newest/comparison.csv",
            profiles="results/numa/newest/profiles.csv",
            summary="results/numa/newest/summary.json",
        log:
            "results/logs/locality_newest.log",
        conda:
            "../../envs/analysis.yaml"
        params:
            *code("locality_record"),
        script:
            "../scripts/locality_record.py"
