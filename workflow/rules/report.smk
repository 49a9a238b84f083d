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
            "badges",
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


PAGES = expand(
    "results/report/{page}.html",
    page=["index", "forecasts", "studies", "machine", "errors", "appendix"],
)


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
    output:
        PAGES,
    log:
        "results/logs/report_page.log",
    conda:
        "../../envs/report.yaml"
    params:
        *code("report_page"),
        *contents("report/templates", "**/*.html"),
    script:
        "../scripts/report_page.py"


# The same in one file, to send: `snakemake results/report/tilecast-report.html`.
use rule report_page as report_in_one_file with:
    output:
        "results/report/tilecast-report.html",
    log:
        "results/logs/report_in_one_file.log",


TARGETS = [
    *GRAPHS,
    "results/predict/logo.csv",
    *FIGURE_FILES,
    *TABLE_FILES,
    *MODERN_TARGETS,
    *MEASURE_TARGETS,
    *PARALLEL_TARGETS,
    *MOE_TARGETS,
    *NUMA_TARGETS,
    *PAGES,
]


# The last step: nothing reads it but `tilecast check results`.
rule manifest:
    input:
        TARGETS,
    output:
        "results/manifest.csv",
    log:
        "results/logs/manifest.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("manifest"),
        made=lambda wildcards: made_by_steps(),
        others=["logs/*", "measured/*/*", "*/trained/*", "README.md"],
        state=".snakemake/tilecast-made.json",
    script:
        "../scripts/manifest.py"


# To compare parameters Snakemake imports pandas where it is installed, in case one is a data frame: half a second of every
# call. None is here, so this process, which computes nothing, tells it that there is no pandas; steps are other processes.
if workflow.is_main_process and workflow.main_snakefile == str(ROOT / "Snakefile"):
    sys.modules.setdefault("pandas", None)
