# Half precision on today's GPUs: a wheel of kernel timings, forecasts with each GPU generation left out.
MODERN_WEIGHTS = [
    shipped(f"src/tilecast/data/weights/half_precision/{name}")
    for name in ["experts.safetensors", "record.json"]
]
MODERN_RECORDS = ["protocol", "sizes", "surface", "noise", "shapes", "ablation"]
MODERN_TABLES = expand(
    "results/modern/{name}.csv",
    name=[
        *MODERN_RECORDS,
        "sample",
        "baselines",
        "serving",
        "serving_errors",
        "serving_intervals",
        "serving_ablation",
        "anchor",
    ],
)
# What the default run makes of this stage, and what of it the page reads.
MODERN_REPORT = (
    ["results/modern/source.json", *MODERN_TABLES] if settings.modern.enabled else []
)
MODERN_TARGETS = MODERN_REPORT


rule half_precision_fetch:
    input:
        lock=shipped("resources/half_precision.lock"),
    output:
        archive="results/modern/kernels.zip",
        record="results/modern/source.json",
    log:
        "results/logs/half_precision_fetch.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("half_precision_fetch"),
        # Not tracked (the function takes `input`): how long to wait changes no result.
        wait=lambda wildcards, input: {"timeout_s": settings.modern.timeout_s},
    script:
        "../scripts/half_precision_fetch.py"


# A minute or two: the shipped experts on a sample of the kernels and on every serving point; the record beside it.
rule half_precision_evaluate:
    input:
        archive="results/modern/kernels.zip",
        weights=MODERN_WEIGHTS,
        records=[
            shipped(f"resources/reference/half_precision/{name}.csv")
            for name in MODERN_RECORDS
        ],
        publisher=shipped("resources/reference/half_precision/publisher.csv"),
        curves=shipped("src/tilecast/data/collectives.json"),
    output:
        **{name: f"results/modern/{name}.csv" for name in MODERN_RECORDS},
        sample="results/modern/sample.csv",
        baselines="results/modern/baselines.csv",
        serving="results/modern/serving.csv",
        serving_errors="results/modern/serving_errors.csv",
        serving_intervals="results/modern/serving_intervals.csv",
        serving_ablation="results/modern/serving_ablation.csv",
        anchor="results/modern/anchor.csv",
    log:
        "results/logs/half_precision_evaluate.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("half_precision_evaluate"),
        *SYSTEMS,
        figures=FIGURES,
        sample=settings.modern.sample,
        seed=settings.modern.seed,
    script:
        "../scripts/half_precision_evaluate.py"


# Minutes: the tidy table of all kernels of the default frameworks.
rule half_precision_tidy:
    input:
        archive="results/modern/kernels.zip",
    output:
        kernels="results/modern/kernels.parquet",
        points="results/modern/points.csv",
    log:
        "results/logs/half_precision_tidy.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        *code("half_precision_tidy"),
    script:
        "../scripts/half_precision_tidy.py"


# The whole protocol: trains every expert anew, on one core in about twenty minutes.
rule half_precision_protocol:
    input:
        kernels="results/modern/kernels.parquet",
        tuned=shipped("src/tilecast/data/tuned_expert_kernels.csv"),
    output:
        **{name: f"results/modern/trained/{name}.csv" for name in MODERN_RECORDS},
        weights="results/modern/trained/experts.safetensors",
        record="results/modern/trained/record.json",
    log:
        "results/logs/half_precision_protocol.log",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    params:
        *code("half_precision_protocol"),
        figures=FIGURES,
        seed=settings.modern.seed,
    script:
        "../scripts/half_precision_protocol.py"


# NeuSight's architecture on the same rows: half an hour; what was trained so far is kept.
rule half_precision_neusight:
    input:
        kernels="results/modern/kernels.parquet",
    output:
        "results/modern/trained/neusight.csv",
    log:
        "results/logs/half_precision_neusight.log",
    conda:
        "../../envs/torch.yaml"
    threads: 1
    params:
        *code("half_precision_neusight"),
        figures=FIGURES,
        seed=settings.modern.seed,
    script:
        "../scripts/half_precision_neusight.py"
