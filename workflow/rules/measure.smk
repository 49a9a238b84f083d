# Timing on the machine at hand, forecasts first; and named scenarios, which are forecasts alone.
#
# What is timed lies in results/measured/<device>: raw, with its record, named in no rule, so that an interrupted run
# goes on where it stopped and an edited library times nothing again. `-R measure_kernels` times more of the plan.
#
# A CPU is measured and shown where the configuration asks for it by name (`measure`, `replay`): that tries the code,
# and is no result.
KEPT = "resources/measured"
CPUS = settings.measure.mode in ("measure", "replay")
LIVE = settings.measure.mode == "measure" or (
    settings.measure.mode == "auto"
    and os.path.exists(os.path.join(os.sep, "dev", "nvidiactl"))
)
KEPT_GPUS = [
    path
    for path in ROOT.glob(f"{KEPT}/*/kernels-*.parquet")
    if not path.parent.name.startswith("CPU_")
]
MEASURED_SHOWN = LIVE or CPUS or (settings.measure.mode == "auto" and bool(KEPT_GPUS))
MEASURE_TABLES = [
    "kernels",
    "models",
    "summary",
    "calibration",
    "labels",
    "scenarios_here",
    "constants",
]
MEASURE_REPORT = [
    "results/measure/scenarios.csv",
    *(
        [
            "results/measure/machines.json",
            *expand("results/measure/{name}.csv", name=MEASURE_TABLES),
        ]
        if MEASURED_SHOWN
        else []
    ),
]
# What the default run makes of this stage, and what of it the page reads.
MEASURE_TARGETS = MEASURE_REPORT


if LIVE:

    rule measure_forecast:
        output:
            "results/measured/before.json",
        log:
            "results/logs/measure_forecast.log",
        conda:
            "../../envs/torch.yaml"
        # All cores, also for the next rule: what else runs meanwhile would be measured with it.
        threads: all_cores()
        resources:
            gpu=1,
        params:
            device=settings.measure.device,
            measured_threads=settings.measure.threads,
            budget_s=settings.measure.budget_s,
        script:
            "../scripts/measure_forecast.py"

    rule measure_kernels:
        input:
            before="results/measured/before.json",
        output:
            "results/measured/after.json",
        log:
            "results/logs/measure_kernels.log",
        conda:
            "../../envs/torch.yaml"
        threads: all_cores()
        resources:
            gpu=1,
        params:
            device=settings.measure.device,
            measured_threads=settings.measure.threads,
            budget_s=settings.measure.budget_s,
        script:
            "../scripts/measure_kernels.py"


if MEASURED_SHOWN:

    rule measure_evaluate:
        input:
            after="results/measured/after.json" if LIVE else [],
            labels="results/tidy/labels.csv",
            scenarios=shipped("config/studies/scenarios.yaml"),
            launches=shipped("src/tilecast/data/weights/tilecast/record.json"),
            kept=shipped_folder(KEPT, "*/description.json")
            + shipped_folder(KEPT, "*/*.parquet")
            + shipped_folder(KEPT, "*/*-[0-9][0-9][0-9].json"),
        output:
            **{name: f"results/measure/{name}.csv" for name in MEASURE_TABLES},
            machines="results/measure/machines.json",
        log:
            "results/logs/measure_evaluate.log",
        conda:
            "../../envs/analysis.yaml"
        params:
            *code("measure_evaluate"),
            seed=settings.evaluation.seed,
            cpus=CPUS,
            kept=lambda wildcards: shipped(KEPT),
            live=lambda wildcards, input: (
                os.path.dirname(input.after) if input.after else ""
            ),
        script:
            "../scripts/measure_evaluate.py"


rule measure_scenarios:
    input:
        scenarios=shipped("config/studies/scenarios.yaml"),
        labels="results/tidy/labels.csv",
        lists=GRAPHS,
        weights=weights("tilecast"),
        half_precision=shipped_folder(
            "src/tilecast/data/weights/half_precision", "*.safetensors"
        ),
        curves=shipped("src/tilecast/data/collectives.json"),
    output:
        "results/measure/scenarios.csv",
    log:
        "results/logs/measure_scenarios.log",
    conda:
        "../../envs/torch.yaml"
    params:
        *code("measure_scenarios"),
        *SYSTEMS,
        *MODELS,
        figures=FIGURES,
    script:
        "../scripts/measure_scenarios.py"
