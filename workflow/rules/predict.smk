# Predictors computed here, in the order of the report. Each forecasts every cell of the artifact's graphs as one job.
BASELINES = ["roofline", "li", "habitat"]
OWN_PREDICTORS = [*BASELINES, "neusight", "tilecast"]
TRAINED = ["li", "habitat", "neusight", "tilecast"]
# The makers' figures of each GPU; tilecast is trained on them.
SPECIFICATIONS = shipped_folder("src/tilecast/data/devices", "*.yaml")
OWN_PREDICTIONS = [f"results/predict/{name}.csv" for name in OWN_PREDICTORS]
OWN_OPERATOR_PREDICTIONS = [
    f"results/predict/{name}_operators.parquet" for name in OWN_PREDICTORS
]


OWN_GRAPHS = "results/evaluation/own_graphs.csv"
PREDICT_REPORT = [
    "results/evaluation/bars.csv",
    "results/evaluation/coverage.csv",
    "results/evaluation/kernel_errors.csv",
    *([OWN_GRAPHS] if settings.graphs.cells else []),
]


wildcard_constraints:
    baseline="|".join(BASELINES),
    trained="|".join(TRAINED),
    network="neusight|habitat",


rule predict_baseline:
    input:
        graphs="results/tidy/graphs.parquet",
        labels="results/tidy/labels.csv",
        devices="results/tidy/devices.csv",
        specifications=SPECIFICATIONS,
        weights=lambda wildcards: weights(wildcards.baseline),
        code=code("predict_baseline"),
    output:
        cells="results/predict/{baseline}.csv",
        operators="results/predict/{baseline}_operators.parquet",
        intervals="results/predict/{baseline}_intervals.csv",
        breakdown="results/predict/{baseline}_breakdown.csv",
    log:
        "results/logs/predict_{baseline}.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/predict_baseline.py"


rule predict_neusight:
    input:
        graphs="results/tidy/graphs.parquet",
        labels="results/tidy/labels.csv",
        devices="results/tidy/devices.csv",
        specifications=SPECIFICATIONS,
        weights=weights("neusight"),
        code=code("predict_neusight"),
    output:
        cells="results/predict/neusight.csv",
        operators="results/predict/neusight_operators.parquet",
        intervals="results/predict/neusight_intervals.csv",
        breakdown="results/predict/neusight_breakdown.csv",
    log:
        "results/logs/predict_neusight.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/predict_neusight.py"


rule predict_tilecast:
    input:
        graphs="results/tidy/graphs.parquet",
        labels="results/tidy/labels.csv",
        devices="results/tidy/devices.csv",
        specifications=SPECIFICATIONS,
        weights=weights("tilecast"),
        code=code("predict_tilecast"),
    output:
        cells="results/predict/tilecast.csv",
        operators="results/predict/tilecast_operators.parquet",
        intervals="results/predict/tilecast_intervals.csv",
        breakdown="results/predict/tilecast_breakdown.csv",
    log:
        "results/logs/predict_tilecast.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/predict_tilecast.py"


rule predict_logo:
    input:
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        records=[
            *(weights(name) for name in TRAINED),
            *shipped_folder("resources/reference/leave_one_out", "*.json"),
        ],
        code=code("predict_logo"),
    output:
        "results/predict/logo.csv",
    log:
        "results/logs/predict_logo.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/predict_logo.py"


# Minutes (li: none, tilecast: few) to an hour (neusight); an interrupted training goes on where it stopped.
rule train_predictor:
    input:
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        specifications=SPECIFICATIONS,
        graphs="results/tidy/graphs.parquet",
        labels="results/tidy/labels.csv",
        shipped=lambda wildcards: shipped(
            f"src/tilecast/data/weights/{wildcards.trained}/record.json"
        ),
        code=code("train_predictor"),
    output:
        record="results/predict/trained/{trained}/record.json",
        distance="results/predict/trained/{trained}/distance.csv",
    log:
        "results/logs/train_{trained}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        seed=settings.predictor.seed,
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
        code=code("train_leave_one_out"),
    output:
        "results/predict/leave_one_out/{network}.json",
    log:
        "results/logs/train_leave_one_out_{network}.log",
    conda:
        "../../envs/torch.yaml"
    params:
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
        code=code("evaluate_goals"),
    output:
        "results/evaluation/bars.csv",
    log:
        "results/logs/evaluate_goals.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/evaluate_goals.py"


rule evaluate_own_graphs:
    input:
        **{name: weights(name) for name in TRAINED},
        **{f"{name}_cells": f"results/predict/{name}.csv" for name in OWN_PREDICTORS},
        labels="results/tidy/labels.csv",
        graphs=GRAPHS,
        devices="results/tidy/devices.csv",
        specifications=SPECIFICATIONS,
        code=code("evaluate_own_graphs"),
    output:
        mape=OWN_GRAPHS,
        cells="results/evaluation/own_graph_errors.csv",
    log:
        "results/logs/evaluate_own_graphs.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        predictors=OWN_PREDICTORS,
        resampling={
            "resamples": settings.evaluation.bootstrap_resamples,
            "confidence": settings.evaluation.confidence,
            "seed": settings.evaluation.seed,
        },
    script:
        "../scripts/evaluate_own_graphs.py"
