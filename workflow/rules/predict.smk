from tilecast.predict import registry

# Predictors computed here, name -> module:Class, in the order of the report. Each forecasts every cell of the
# artifact's graphs as one job.
PREDICTORS = dict(reversed(registry.PREDICTORS.items())) | settings.predictor.own
TRAINED = [name for name in PREDICTORS if name in registry.TRAINED]

try:
    if workflow.is_main_process:
        registry.check_own(settings.predictor.own)
    SOURCES = {
        name: registry.source_file(kind)
        for name, kind in settings.predictor.own.items()
    }
except TilecastError as error:
    stop(error)

OWN_GRAPHS = "results/evaluation/own_graphs.csv"
PREDICT_REPORT = [
    "results/evaluation/bars.csv",
    "results/evaluation/coverage.csv",
    "results/evaluation/kernel_errors.csv",
    "results/evaluation/ablation.csv",
    "results/evaluation/baselines.csv",
    "results/evaluation/constants.csv",
    "results/evaluation/donors.csv",
    "results/evaluation/same_weights.csv",
    *([OWN_GRAPHS] if settings.graphs.cells else []),
    *(["results/evaluation/interval_suites.csv"] if settings.modern.enabled else []),
]


wildcard_constraints:
    predictor="|".join(PREDICTORS),
    trained="|".join(TRAINED),
    network="neusight|habitat",


rule predict:
    input:
        graphs="results/tidy/graphs.parquet",
        layers="results/tidy/layers.csv",
        devices="results/tidy/devices.csv",
        added=OWN_DEVICE_FILES,
        weights=lambda wildcards: weights(wildcards.predictor),
        own=lambda wildcards: own_code(wildcards.predictor),
    output:
        cells="results/predict/{predictor}.csv",
        operators="results/predict/{predictor}_operators.parquet",
        intervals="results/predict/{predictor}_intervals.csv",
        breakdown="results/predict/{predictor}_breakdown.csv",
    log:
        "results/logs/predict_{predictor}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        code=lambda wildcards: code("predict", *predictor_code(wildcards.predictor)),
        kind=lambda wildcards: PREDICTORS[wildcards.predictor],
        figures=LABELLED_FIGURES,
    script:
        "../scripts/predict.py"


rule predict_logo:
    input:
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        records=[
            *(weights(name) for name in TRAINED),
            *shipped_folder("resources/reference/leave_one_out", "*.json"),
        ],
    output:
        "results/predict/logo.csv",
    log:
        "results/logs/predict_logo.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("predict_logo"),
    script:
        "../scripts/predict_logo.py"


# Minutes (li: none, tilecast: few) to an hour (neusight); an interrupted training goes on where it stopped.
rule train_predictor:
    input:
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        graphs="results/tidy/graphs.parquet",
        layers="results/tidy/layers.csv",
        shipped=lambda wildcards: shipped(
            f"src/tilecast/data/weights/{wildcards.trained}/record.json"
        ),
    output:
        record="results/predict/trained/{trained}/record.json",
        distance="results/predict/trained/{trained}/distance.csv",
    log:
        "results/logs/train_{trained}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        code=lambda wildcards: code(
            "train_predictor", *predictor_code(wildcards.trained)
        ),
        seed=settings.predictor.seed,
        figures=LABELLED_FIGURES,
    script:
        "../scripts/train_predictor.py"


rule train:
    input:
        expand("results/predict/trained/{trained}/distance.csv", trained=TRAINED),


# Half an hour to an hour a predictor on one core; what it writes is shipped as resources/reference/leave_one_out/*.json.
rule train_leave_one_out:
    input:
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
    output:
        "results/predict/leave_one_out/{network}.json",
    log:
        "results/logs/train_leave_one_out_{network}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("train_leave_one_out"),
        seed=settings.predictor.seed,
    script:
        "../scripts/train_leave_one_out.py"


rule leave_one_out:
    input:
        expand(
            "results/predict/leave_one_out/{network}.json",
            network=["neusight", "habitat"],
        ),


rule evaluate_goals:
    input:
        errors="results/evaluation/errors.csv",
        phases="results/evaluation/phase_errors.csv",
        operators="results/evaluation/operator_cells.csv",
    output:
        "results/evaluation/bars.csv",
    log:
        "results/logs/evaluate_goals.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_goals"),
    script:
        "../scripts/evaluate_goals.py"


rule evaluate_weights:
    input:
        archive=ARCHIVE,
        lock=shipped("resources/artifact.lock.tsv"),
        kernels="results/tidy/kernels.parquet",
        graphs="results/tidy/graphs.parquet",
        layers="results/tidy/layers.csv",
        devices="results/tidy/devices.csv",
        predictions="results/tidy/predictions.csv",
    output:
        "results/evaluation/same_weights.csv",
    log:
        "results/logs/evaluate_weights.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("evaluate_weights"),
    script:
        "../scripts/evaluate_weights.py"


rule evaluate_baselines:
    input:
        weights=weights("tilecast"),
        kernels="results/tidy/kernels.parquet",
        graphs="results/tidy/graphs.parquet",
        layers="results/tidy/layers.csv",
        devices="results/tidy/devices.csv",
        labels="results/tidy/labels.csv",
        errors="results/evaluation/errors.csv",
        evaluations=shipped("resources/reference/evaluations.csv"),
        registry=shipped("src/tilecast/data/constants.csv"),
    output:
        baselines="results/evaluation/baselines.csv",
        donors="results/evaluation/donors.csv",
        ablation="results/evaluation/ablation.csv",
        constants="results/evaluation/constants.csv",
    log:
        "results/logs/evaluate_baselines.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_baselines", *predictor_code("tilecast")),
    script:
        "../scripts/evaluate_baselines.py"


rule evaluate_own_graphs:
    input:
        **{name: weights(name) for name in TRAINED},
        **{f"{name}_cells": f"results/predict/{name}.csv" for name in PREDICTORS},
        labels="results/tidy/labels.csv",
        graphs=GRAPHS,
        devices="results/tidy/devices.csv",
        added=OWN_DEVICE_FILES,
        own=own_code(*PREDICTORS),
    output:
        mape=OWN_GRAPHS,
        cells="results/evaluation/own_graph_errors.csv",
    log:
        "results/logs/evaluate_own_graphs.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_own_graphs", *predictor_code(*PREDICTORS)),
        predictors=PREDICTORS,
        trained=TRAINED,
        figures=LABELLED_FIGURES,
        resampling={
            "resamples": settings.evaluation.bootstrap_resamples,
            "confidence": settings.evaluation.confidence,
            "seed": settings.evaluation.seed,
        },
    script:
        "../scripts/evaluate_own_graphs.py"
