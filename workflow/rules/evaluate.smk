FACTS = shipped("resources/published/citation.yaml")
CLAIMS_FILE = given(settings.claims)


CLAIMED = remembered(
    "evaluate/claims", [CLAIMS_FILE, FACTS, PUBLISHED_CELLS, *settings.labels], claimed
)

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
    output:
        errors="results/evaluation/errors.csv",
        phases="results/evaluation/phase_errors.csv",
    log:
        "results/logs/evaluate_errors.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_errors"),
    script:
        "../scripts/evaluate_errors.py"


rule evaluate_mape:
    input:
        errors="results/evaluation/errors.csv",
        phases="results/evaluation/phase_errors.csv",
    output:
        mape="results/evaluation/mape.csv",
        phases="results/evaluation/phase_mape.csv",
    log:
        "results/logs/evaluate_mape.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_mape"),
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
        *code("evaluate_operators"),
        resamples=settings.evaluation.bootstrap_resamples,
        confidence=settings.evaluation.confidence,
        seed=settings.evaluation.seed,
    script:
        "../scripts/evaluate_operators.py"


rule evaluate_coverage:
    input:
        errors="results/evaluation/errors.csv",
        intervals=expand("results/predict/{name}_intervals.csv", name=PREDICTORS),
    output:
        coverage="results/evaluation/coverage.csv",
        cells="results/evaluation/interval_cells.csv",
    log:
        "results/logs/evaluate_coverage.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_coverage"),
        confidence=settings.evaluation.confidence,
    script:
        "../scripts/evaluate_coverage.py"


# Every suite's intervals, where the tables of half precision are made.
rule evaluate_intervals:
    input:
        cells="results/evaluation/interval_cells.csv",
        kernels="results/evaluation/kernel_errors.csv",
        protocol="results/modern/protocol.csv",
        serving="results/modern/serving.csv",
        steps="results/parallel/validation.csv",
        collectives="results/parallel/collectives.csv",
    output:
        suites="results/evaluation/interval_suites.csv",
    log:
        "results/logs/evaluate_intervals.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_intervals"),
    script:
        "../scripts/evaluate_intervals.py"


rule evaluate_kernels:
    input:
        **{name: weights(name) for name in TRAINED},
        kernels="results/tidy/kernels.parquet",
        devices="results/tidy/devices.csv",
        own=own_code(*PREDICTORS),
    output:
        errors="results/evaluation/kernel_errors.csv",
    log:
        "results/logs/evaluate_kernels.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_kernels", *predictor_code(*PREDICTORS)),
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
    output:
        "results/evaluation/summary_comparison.csv",
    log:
        "results/logs/evaluate_summaries.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("evaluate_summaries"),
    script:
        "../scripts/evaluate_summaries.py"


rule audit_claims:
    input:
        **CLAIMED,
        claims=CLAIMS_FILE,
        facts=FACTS,
        source=RECORD,
    output:
        claims="results/evaluation/claims.csv",
        rows="results/evaluation/claim_rows.csv",
        badges="results/evaluation/badges.csv",
    log:
        "results/logs/audit_claims.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("audit_claims"),
    script:
        "../scripts/audit_claims.py"
