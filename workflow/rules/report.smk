# The page is rendered from the files named here and from nothing else: a section whose files are not here says so.
REPORT_FILES = [
    RECORD,
    "results/tidy/labels.csv",
    "results/tidy/defects.csv",
    "results/predict/logo.csv",
    "results/graphs/differences.csv",
    *expand(
        "results/evaluation/{name}.csv",
        name=[
            "claims",
            "claim_rows",
            "errors",
            "mape",
            "phase_mape",
            "operator_errors",
            "label_noise",
            "label_noise_mape",
            "summary_comparison",
        ],
    ),
]


rule report_page:
    input:
        files=[
            *REPORT_FILES,
            *TABLE_FILES,
            *FIGURE_FILES,
            *PREDICT_REPORT,
            *MODERN_REPORT,
            *MEASURE_REPORT,
            *PARALLEL_REPORT,
            *MOE_REPORT,
            *NUMA_REPORT,
        ],
        claims=CLAIMS_FILE,
        style=shipped("report/page.css"),
        script=shipped("report/page.js"),
        templates=shipped_folder("report/templates", "**/*.html"),
        code=code("report_page"),
    output:
        "results/report/index.html",
    log:
        "results/logs/report_page.log",
    conda:
        "../../envs/report.yaml"
    script:
        "../scripts/report_page.py"
