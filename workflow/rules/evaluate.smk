from tilecast.evaluate.claims import (
    DATASETS,
    check_claims,
    known_cells,
    load_claims,
    load_facts,
)

FACTS = shipped("resources/published/citation.yaml")

try:  # a claim that cannot be computed ends the run before it begins
    CLAIMS_FILE = given(settings.claims)
    CLAIMS = load_claims(CLAIMS_FILE)
    check_claims(
        CLAIMS,
        load_facts(FACTS),
        known_cells(shipped("resources/published/end_to_end.csv"), settings.labels),
        CLAIMS_FILE,
    )
except TilecastError as error:
    stop(error)

PREDICTION_TABLES = [
    "results/tidy/predictions.csv",
    *expand("results/predict/{name}.csv", name=PREDICTORS),
]
OPERATOR_PREDICTION_TABLES = [
    "results/tidy/operator_predictions.parquet",
    *expand("results/predict/{name}_operators.parquet", name=PREDICTORS),
]


rule evaluate_errors:
    input:
        labels="results/tidy/labels.csv",
        predictions=PREDICTION_TABLES,
        code=code("evaluate_errors"),
    output:
        errors="results/evaluation/errors.csv",
        phases="results/evaluation/phase_errors.csv",
    log:
        "results/logs/evaluate_errors.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/evaluate_errors.py"


rule evaluate_mape:
    input:
        errors="results/evaluation/errors.csv",
        phases="results/evaluation/phase_errors.csv",
        code=code("evaluate_mape"),
    output:
        mape="results/evaluation/mape.csv",
        phases="results/evaluation/phase_mape.csv",
    log:
        "results/logs/evaluate_mape.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        resamples=settings.evaluation.bootstrap_resamples,
        confidence=settings.evaluation.confidence,
        seed=settings.evaluation.seed,
    script:
        "../scripts/evaluate_mape.py"


rule evaluate_operators:
    input:
        operator_labels="results/tidy/operator_labels.parquet",
        operator_predictions=OPERATOR_PREDICTION_TABLES,
        labels="results/tidy/labels.csv",
        errors="results/evaluation/errors.csv",
        code=code("evaluate_operators"),
    output:
        cells="results/evaluation/operator_cells.csv",
        errors="results/evaluation/operator_errors.csv",
        noise="results/evaluation/label_noise.csv",
        noise_mape="results/evaluation/label_noise_mape.csv",
    log:
        "results/logs/evaluate_operators.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        resamples=settings.evaluation.bootstrap_resamples,
        confidence=settings.evaluation.confidence,
        seed=settings.evaluation.seed,
    script:
        "../scripts/evaluate_operators.py"


rule evaluate_coverage:
    input:
        errors="results/evaluation/errors.csv",
        intervals=expand("results/predict/{name}_intervals.csv", name=PREDICTORS),
        code=code("evaluate_coverage"),
    output:
        coverage="results/evaluation/coverage.csv",
        cells="results/evaluation/interval_cells.csv",
    log:
        "results/logs/evaluate_coverage.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        confidence=settings.evaluation.confidence,
    script:
        "../scripts/evaluate_coverage.py"


rule evaluate_kernels:
    input:
        **{name: weights(name) for name in TRAINED},
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        code=[*code("evaluate_kernels"), *predictor_code(*PREDICTORS)],
    output:
        errors="results/evaluation/kernel_errors.csv",
        sweeps="results/evaluation/utilisation.csv",
    log:
        "results/logs/evaluate_kernels.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        predictors=PREDICTORS,
        trained=TRAINED,
        figures=LABELLED_FIGURES,
    script:
        "../scripts/evaluate_kernels.py"


rule evaluate_summaries:
    input:
        archive=ARCHIVE,
        labels="results/tidy/labels.csv",
        predictions="results/tidy/predictions.csv",
        operators="results/evaluation/operator_cells.csv",
        code=code("evaluate_summaries"),
    output:
        "results/evaluation/summary_comparison.csv",
    log:
        "results/logs/evaluate_summaries.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/evaluate_summaries.py"


rule audit_claims:
    input:
        **{name: DATASETS[name] for name in CLAIMS.datasets()},
        claims=CLAIMS_FILE,
        facts=FACTS,
        code=code("audit_claims"),
    output:
        claims="results/evaluation/claims.csv",
        rows="results/evaluation/claim_rows.csv",
    log:
        "results/logs/audit_claims.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/audit_claims.py"
