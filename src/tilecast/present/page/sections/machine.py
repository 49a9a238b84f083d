"""Devices this project measured: forecasts made before, measurements made after; and named scenarios."""

from __future__ import annotations

from typing import Any

from tilecast.evaluate.statistics import error_summary
from tilecast.present.page.results import Results
from tilecast.present.page.sections.figures import of_stage
from tilecast.present.page.shown import Row, Shown, in_words, interval, records, shown, span
from tilecast.tables.declared.measured import (
    LIVE,
    LIVE_CONSTANTS,
    LIVE_LABELS,
    LIVE_MODELS,
    LIVE_SCENARIOS,
    LIVE_SUMMARY,
    SCENARIOS,
    WHERE,
)
from tilecast.tables.naming import device_name
from tilecast.tables.schema import prose, size, text

MACHINES = {
    "device": prose("x", title="Device"),
    "where": WHERE,
    "described": prose("x", title="Described by"),
    "kernels": size("x", title="Kernels", digits=0),
    "models": size("x", title="Models", digits=0),
    "torch": text("x", title="PyTorch", empty="not recorded"),
    "driver": text("x", title="Driver", empty="none: a CPU"),
}
NEAR_PERCENT = 20
ARTIFACT = "the artifact's"  # what a truth from a label begins with, as tilecast.evaluate.scenarios writes it
SETTLED = {  # what a campaign on a GPU adds
    "labels": (
        LIVE_LABELS,
        "device model mode sequence_length batch_size option label_ms harness_ms measured_ms harness_percent "
        "measured_percent",
    ),
    "scenarios_here": (
        LIVE_SCENARIOS,
        "id device dtype execution predictor predicted_ms measured_ms ape_percent passport",
    ),
    "constants": (LIVE_CONSTANTS, "device constant where assumed measured low high n verdict"),
}


def context(results: Results) -> dict[str, Any]:
    """Devices, errors by kernel family, whole models, and the figures of this stage."""
    machines = (results.json("measure/machines.json") or {})["machines"]
    summary = results.table("measure/summary.csv", LIVE_SUMMARY)
    models = results.table("measure/models.csv", LIVE_MODELS)
    models = models[models["predictor"].isna() | (models["predictor"] == "tilecast")]
    rows = [row | {"workload": _workload(row)} for row in records(models)]
    return {
        "machines": Shown(MACHINES, [_machine(machine) for machine in machines]),
        "notes": sorted({note for machine in machines for note in machine["notes"]}),
        "overall": shown(
            summary[summary["family"] == "all"],
            LIVE_SUMMARY,
            "predictor mape_percent median_percent n device where",
        ),
        "summary": shown(
            summary,
            LIVE_SUMMARY,
            "device predictor family dtype n not_timed mape_percent median_percent ratio inside_percent",
        ),
        "models": shown(
            rows,
            LIVE_MODELS,
            "device workload predicted_ms measured_ms ape_percent passport reason",
            workload=prose("model and what it does"),
        ),
        "settled": [
            (about.meaning, shown(frame, about, columns))
            for name, (about, columns) in SETTLED.items()
            if len(frame := results.table(f"measure/{name}.csv", about))
        ],
        "gpu": any(machine["driver"] for machine in machines),
        "figures": of_stage(results, "measure_"),
        "links": results.links({name.replace("_", " ").capitalize(): f"measure/{name}.csv" for name in LIVE}),
    }


def _machine(machine: Row) -> Row:
    about = {"device": machine["title"], "torch": machine["versions"].get("torch")}
    return machine | about | {"where": in_words("where", machine["where"])}


def _workload(row: Row) -> str:
    after = f" after {row['context']}" if row["context"] else ""
    return (
        f"{row['model']}, {row['mode']} {row['phase']}, {row['batch_size']} × {row['sequence_length']}{after}, "
        f"{row['dtype']}, {row['attention']} attention, {row['execution']}"
    )


def scenarios(results: Results) -> dict[str, Any]:
    """Every scenario, failed ones too, and how many there are of each kind."""
    frame = results.table("measure/scenarios.csv", SCENARIOS)
    rows = [
        row
        | {
            "device": device_name(row["device"]).removeprefix("NVIDIA_"),
            "range": interval(row["low_ms"], row["high_ms"]),
            "truth": _truth(row["truth_low_ms"], row["truth_high_ms"]),
        }
        for row in records(frame)
    ]
    errors = frame["ape_percent"][frame["truth_low_ms"].notna()].dropna()
    artifact = frame["truth_source"].fillna("").str.startswith(ARTIFACT)[errors.index]
    sources = (("the artifact's labels", errors[artifact]), ("other sources", errors[~artifact]))
    return {
        "table": shown(
            rows,
            SCENARIOS,
            "id compute_ms latency_ms range truth ape_percent device layout title truth_source reason",
            range=span("80 % interval", "ms", "none"),
            truth=span("Measured by others", "ms", "no ground truth"),
        ),
        "n": len(frame),
        "failed": int((frame["outcome"] == "failed").sum()),
        "judged": int(frame["truth_low_ms"].notna().sum()),
        "near": int((errors <= NEAR_PERCENT).sum()),
        "mean": error_summary(errors)["mape_percent"] if len(errors) else None,
        "by_source": [
            {"source": source, "n": len(part), "mean": error_summary(part)["mape_percent"]}
            for source, part in sources
            if len(part)
        ],
        "links": results.links("measure/scenarios.csv"),
    }


def _truth(low: float | None, high: float | None) -> str:
    """What others measured: one number where they agree."""
    ends = dict.fromkeys(f"{end:,.4g}" for end in (low, high) if end is not None)
    return " to ".join(ends)
