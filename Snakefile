from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/tidy.smk"


rule all:
    default_target: True
    input:
        "results/tidy/labels.csv",
