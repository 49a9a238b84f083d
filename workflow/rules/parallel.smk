# What the default run makes of this stage, and what of it the page reads.
PARALLEL_TARGETS = []
PARALLEL_REPORT = []


rule collectives_validation:
    input:
        measured="resources/published/nccl_collectives.csv",
        curves="resources/pretrained/collectives.json",
        systems=sorted(str(path) for path in Path("config/systems").glob("*.yaml")),
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
