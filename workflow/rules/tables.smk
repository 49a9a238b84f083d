END_TO_END_TABLES = [
    "nvidia_inference",
    "nvidia_training",
    "amd_inference",
    "amd_training",
    "fusion",
    "distributed",
]
TABLES = ["claims", "mape", *END_TO_END_TABLES, "operators"]
TABLE_FILES = [
    *expand("results/tables/{name}.{kind}", name=TABLES, kind=["csv", "html", "tex"]),
    "results/tables/tables.pdf",
]


rule table_end_to_end:
    input:
        labels="results/tidy/labels.csv",
        errors="results/evaluation/errors.csv",
        code=code("table_end_to_end"),
    output:
        expand(
            "results/tables/{name}.{kind}",
            name=END_TO_END_TABLES,
            kind=["csv", "html", "tex", "typ"],
        ),
    log:
        "results/logs/table_end_to_end.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/table_end_to_end.py"


rule table_operators:
    input:
        operators="results/evaluation/operator_errors.csv",
        code=code("table_operators"),
    output:
        **paper_table("operators"),
    log:
        "results/logs/table_operators.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/table_operators.py"


rule table_mape:
    input:
        mape="results/evaluation/mape.csv",
        code=code("table_mape"),
    output:
        **paper_table("mape"),
    log:
        "results/logs/table_mape.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/table_mape.py"


rule table_claims:
    input:
        claims="results/evaluation/claims.csv",
        code=code("table_claims"),
    output:
        **paper_table("claims"),
    log:
        "results/logs/table_claims.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/table_claims.py"


rule table_pdf:
    input:
        fragments=expand("results/tables/{name}.typ", name=TABLES),
        code=code("table_pdf"),
    output:
        report(
            "results/tables/tables.pdf",
            caption="../../report/captions/tables.rst",
            category="Tables",
            labels={"table": "All tables"},
        ),
    log:
        "results/logs/table_pdf.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/table_pdf.py"
