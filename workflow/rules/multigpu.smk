# What the default run makes of this stage, and what of it the page reads.
STUDY = expand(
    "results/parallel/study/{name}.csv",
    name=[
        "figures",
        "parts",
        "timeline",
        "scaling",
        "serving",
        "cost",
        "search",
        "infeasible",
        "sensitivity",
    ],
)
PARALLEL_REPORT = [
    "results/parallel/collectives_mape.csv",
    "results/parallel/validation.csv",
    "results/parallel/scoreboard.csv",
    *STUDY,
]
PARALLEL_TARGETS = ["results/parallel/collectives.csv", *PARALLEL_REPORT]


rule multigpu_collectives:
    input:
        measured=shipped("resources/published/nccl_collectives.csv"),
        curves=shipped("src/tilecast/data/collectives.json"),
    output:
        cells="results/parallel/collectives.csv",
        mape="results/parallel/collectives_mape.csv",
    log:
        "results/logs/multigpu_collectives.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("multigpu_collectives"),
        *SYSTEMS,
        figures=FIGURES,
    script:
        "../scripts/multigpu_collectives.py"


rule multigpu_validation:
    input:
        labels="results/tidy/labels.csv",
        predictions="results/tidy/predictions.csv",
        tables=[
            shipped("resources/published/megatron_sc21_table1.csv"),
            shipped("resources/published/megatron_recompute_table5.csv"),
            shipped("resources/published/training_tables.csv"),
        ],
        shares=shipped("resources/published/sustained_shares.csv"),
        traced=shipped("src/tilecast/data/shares.json"),
        curves=shipped("src/tilecast/data/collectives.json"),
        weights=weights("tilecast"),
        half=shipped("src/tilecast/data/weights/half_precision/record.json"),
        halves=MODERN_WEIGHTS,
    output:
        cells="results/parallel/validation.csv",
        scores="results/parallel/scoreboard.csv",
        sustained="results/parallel/sustained.csv",
    log:
        "results/logs/multigpu_validation.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("multigpu_validation"),
        *SYSTEMS,
        *MODELS,
        figures=FIGURES,
    script:
        "../scripts/multigpu_validation.py"


# Forecast anew, or as recorded: the record is a copy of what the first rule wrote.
if settings.parallel.compute:

    rule multigpu_study:
        input:
            study=shipped("config/studies/multigpu.yaml"),
            prices=shipped("src/tilecast/data/prices.yaml"),
            curves=shipped("src/tilecast/data/collectives.json"),
            weights=weights("tilecast"),
            halves=MODERN_WEIGHTS,
        output:
            STUDY,
        log:
            "results/logs/multigpu_study.log",
        conda:
            "../../envs/torch.yaml"
        params:
            *code("multigpu_study"),
            *SYSTEMS,
            *MODELS,
            figures=FIGURES,
        script:
            "../scripts/multigpu_study.py"

else:

    rule multigpu_record:
        input:
            record=shipped_folder("resources/studies/multigpu", "*.csv"),
        output:
            STUDY,
        log:
            "results/logs/multigpu_record.log",
        conda:
            "../../envs/analysis.yaml"
        params:
            *code("multigpu_record"),
        script:
            "../scripts/multigpu_record.py"
