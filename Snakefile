from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


report: "report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/tidy.smk"
include: "workflow/rules/graph.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/parallel.smk"


rule all:
    default_target: True
    input:
        GRAPHS,
        "results/predict/logo.csv",
        FIGURE_FILES,
        TABLE_FILES,
        "results/report/index.html",
