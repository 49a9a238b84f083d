# What the default run makes of this stage, and what of it the page reads.
PARALLEL_FIGURES = ["parallel_collectives"]
PARALLEL_REPORT = [
    "results/parallel/collectives_mape.csv",
    "results/parallel/validation.csv",
    "results/parallel/scoreboard.csv",
    *expand(
        "results/figures/{name}.{kind}",
        name=PARALLEL_FIGURES,
        kind=["svg", "pdf", "png", "csv", "json"],
    ),
]
PARALLEL_TARGETS = ["results/parallel/collectives.csv", *PARALLEL_REPORT]


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


rule plot_parallel_collectives:
    input:
        cells="results/parallel/collectives.csv",
        code=code("plot_parallel_collectives"),
    output:
        **picture("parallel_collectives", "Many GPUs", "Collectives"),
    log:
        "results/logs/plot_parallel_collectives.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/plot_parallel_collectives.py"


rule parallel_validation:
    input:
        labels="results/tidy/labels.csv",
        predictions="results/tidy/predictions.csv",
        megatron=shipped("resources/published/megatron_sc21_table1.csv"),
        traced=shipped("resources/pretrained/parallel_kernels.json"),
        curves=shipped("resources/pretrained/collectives.json"),
        weights=weights("tilecast"),
        systems=shipped_folder("config/systems", "*.yaml"),
        devices=shipped_folder("config/devices", "*.yaml"),
        models=shipped_folder("config/models", "*.json"),
        code=code("parallel_validation"),
    output:
        cells="results/parallel/validation.csv",
        scores="results/parallel/scoreboard.csv",
    log:
        "results/logs/parallel_validation.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/parallel_validation.py"
