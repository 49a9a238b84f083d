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
        charts=[shipped("report/points.js"), *shipped_folder("report/vendor", "uPlot*")],
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


rule appendix:
    input:
        template=shipped("report/paper/appendix.md"),
        claims=CLAIMS_FILE,
        verdicts="results/evaluation/claims.csv",
        minutes=shipped("resources/reference/minutes.csv"),
    output:
        markdown="results/report/artifact-appendix.md",
        pdf="results/report/artifact-appendix.pdf",
    log:
        "results/logs/appendix.log",
    conda:
        "../../envs/report.yaml"
    params:
        *code("appendix"),
    script:
        "../scripts/appendix.py"


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
    "results/report/index.html",
    "results/report/artifact-appendix.pdf",
]


# The run described as a Workflow Run RO-Crate: what it was run from and with, and which step made which file.
RUN_FILES = {
    "results/run/Snakefile": shipped("Snakefile"),
    **{
        f"results/run/workflow/rules/{file.name}": shipped(
            f"workflow/rules/{file.name}"
        )
        for file in sorted((ROOT / "workflow/rules").glob("*.smk"))
    },
}


rule crate:
    input:
        TARGETS,
        run=list(RUN_FILES.values()),
    output:
        crate="results/ro-crate-metadata.json",
        config="results/run/config.json",
        run=list(RUN_FILES),
    log:
        "results/logs/crate.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("crate"),
        steps=lambda wildcards: made_by_steps(),
        settings=settings.model_dump_json(indent=1),
    script:
        "../scripts/crate.py"


# The last step: nothing reads it but `tilecast check results`.
rule manifest:
    input:
        TARGETS,
        rules.crate.output,
    output:
        "results/manifest.csv",
    log:
        "results/logs/manifest.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("manifest"),
        made=lambda wildcards: sorted(
            {file for files in made_by_steps().values() for file in files}
        ),
        others=["logs/*", "measured/*/*", "*/trained/*", "README.md"],
        state=".snakemake/tilecast-made.json",
    script:
        "../scripts/manifest.py"


# To compare parameters Snakemake imports pandas where it is installed, in case one is a data frame: half a second of every
# call. None is here, so this process, which computes nothing, tells it that there is no pandas; steps are other processes.
if workflow.is_main_process and workflow.main_snakefile == str(ROOT / "Snakefile"):
    sys.modules.setdefault("pandas", None)
