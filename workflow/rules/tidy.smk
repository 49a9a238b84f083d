if settings.labels:  # a user's measurements are checked before anything runs
    from tilecast.artifact.cells import read_label_file

    try:
        for file in settings.labels:
            read_label_file(file)
    except TilecastError as error:
        stop(error)


rule tidy_end_to_end:
    input:
        archive=ARCHIVE,
        transcribed=shipped("resources/published/end_to_end.csv"),
        transcribed_devices=shipped("resources/published/devices.csv"),
        added=[local(file) for file in settings.labels],
        code=code("tidy_end_to_end"),
    output:
        labels="results/tidy/labels.csv",
        predictions="results/tidy/predictions.csv",
        devices="results/tidy/devices.csv",
    log:
        "results/logs/tidy_end_to_end.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/tidy_end_to_end.py"


rule tidy_operators:
    input:
        archive=ARCHIVE,
        code=code("tidy_operators"),
    output:
        labels="results/tidy/operator_labels.parquet",
        predictions="results/tidy/operator_predictions.parquet",
    log:
        "results/logs/tidy_operators.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/tidy_operators.py"


rule tidy_kernels:
    input:
        archive=ARCHIVE,
        code=code("tidy_kernels"),
    output:
        "results/tidy/kernels.parquet",
    log:
        "results/logs/tidy_kernels.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/tidy_kernels.py"


rule tidy_graphs:
    input:
        archive=ARCHIVE,
        code=code("tidy_graphs"),
    output:
        "results/tidy/graphs.parquet",
    log:
        "results/logs/tidy_graphs.log",
    conda:
        "../../envs/analysis.yaml"
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
        code=code("tidy_defects"),
    output:
        "results/tidy/defects.csv",
    log:
        "results/logs/tidy_defects.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/tidy_defects.py"
