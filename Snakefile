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
include: "workflow/rules/tables.smk"
include: "workflow/rules/half_precision.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/multigpu.smk"
include: "workflow/rules/moe.smk"
include: "workflow/rules/locality.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        TARGETS,
        "results/manifest.csv",
