import csv

PUBLISHED_CELLS = shipped("resources/published/end_to_end.csv")
PUBLISHED_DEVICES = shipped("resources/published/devices.csv")
OWN_DEVICE_FILES = [local(file) for file in settings.devices]
# Rows of GPUs that a user's labels name and the artifact does not know.
NEW_GPUS = {}

if settings.labels or settings.devices:  # checked before anything runs
    from tilecast.artifact.new_gpus import new_gpus

    try:
        NEW_GPUS = new_gpus(settings.labels, settings.devices, PUBLISHED_CELLS)
    except TilecastError as error:
        stop(error)


FIGURES = remembered(
    "hardware/device_file",
    sorted(Path(ROOT, "src/tilecast/data/devices").glob("*.yaml")),
    figures_of_devices,
)
with open(PUBLISHED_DEVICES, newline="") as table:
    ARTIFACT_GPUS = {row["device"] for row in csv.DictReader(table)}
# Of the GPUs that the artifact and the labels name.
LABELLED_FIGURES = {
    name: FIGURES[name]
    for name in sorted(FIGURES.keys() & (ARTIFACT_GPUS | NEW_GPUS.keys()))
}


rule tidy_labels:
    input:
        archive=ARCHIVE,
        transcribed=PUBLISHED_CELLS,
        added=[local(file) for file in settings.labels],
    output:
        "results/tidy/labels.csv",
    log:
        "results/logs/tidy_labels.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_labels"),
    script:
        "../scripts/tidy_labels.py"


rule tidy_end_to_end:
    input:
        archive=ARCHIVE,
        transcribed=PUBLISHED_CELLS,
        transcribed_devices=PUBLISHED_DEVICES,
    output:
        predictions="results/tidy/predictions.csv",
        devices="results/tidy/devices.csv",
        layers="results/tidy/layers.csv",
    log:
        "results/logs/tidy_end_to_end.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_end_to_end"),
        added=list(NEW_GPUS.values()),
    script:
        "../scripts/tidy_end_to_end.py"


rule tidy_operators:
    input:
        archive=ARCHIVE,
    output:
        labels="results/tidy/operator_labels.parquet",
        predictions="results/tidy/operator_predictions.parquet",
    log:
        "results/logs/tidy_operators.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_operators"),
    script:
        "../scripts/tidy_operators.py"


rule tidy_kernels:
    input:
        archive=ARCHIVE,
    output:
        "results/tidy/kernels.parquet",
    log:
        "results/logs/tidy_kernels.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_kernels"),
    script:
        "../scripts/tidy_kernels.py"


rule tidy_graphs:
    input:
        archive=ARCHIVE,
    output:
        "results/tidy/graphs.parquet",
    log:
        "results/logs/tidy_graphs.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_graphs"),
    script:
        "../scripts/tidy_graphs.py"


rule tidy_defects:
    input:
        archive=ARCHIVE,
        lock=shipped("resources/artifact.lock.tsv"),
        reference=shipped("resources/published/reference.csv"),
        devices="results/tidy/devices.csv",
        labels="results/tidy/labels.csv",
        predictions="results/tidy/predictions.csv",
        operator_labels="results/tidy/operator_labels.parquet",
        operator_predictions="results/tidy/operator_predictions.parquet",
        graphs="results/tidy/graphs.parquet",
        kernels="results/tidy/kernels.parquet",
    output:
        "results/tidy/defects.csv",
    log:
        "results/logs/tidy_defects.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("tidy_defects"),
    script:
        "../scripts/tidy_defects.py"
