"""This machine and other devices this project measured: forecasts made before, measurements made after."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.present.page.sections.figures import of_stage
from tilecast.tables.declared.measured import LIVE_MODELS, LIVE_SUMMARY
from tilecast.tables.naming import FAMILIES, PREDICTORS, device_name, display

WHERE = {"live": "on this machine, in this run", "replayed": "kept from an earlier measurement"}
MACHINES = (
    Column("device", "Device", prose=True),
    Column("where", "Measured", prose=True),
    Column("described", "Described by", prose=True),
    Column("kernels", "Kernels", digits=0),
    Column("models", "Models", digits=0),
    Column("torch", "PyTorch", absent="not recorded"),
    Column("driver", "Driver", absent="none: a CPU"),
)
OVERALL = (
    Column("predictor", "Predictor"),
    Column("mape_percent", "Mean error", "%", 1),
    Column("median_percent", "Median error", "%", 1),
    Column("n", "Kernels", digits=0),
    Column("device", "Device", prose=True),
    Column("where", "Measured", prose=True),
)
SUMMARY = (
    Column("device", "Device"),
    Column("predictor", "Predictor"),
    Column("family", "Kernels"),
    Column("dtype", "Format"),
    Column("n", "n", digits=0),
    Column("not_timed", "Not timed", digits=0),
    Column("mape_percent", "Mean error", "%", 1),
    Column("median_percent", "Median error", "%", 1),
    Column("ratio", "Forecast ÷ measured", "", 2),
    Column("inside_percent", "Inside 80 % interval", "%", 0, "none claimed"),
)
MODELS = (
    Column("device", "Device"),
    Column("workload", "Workload", prose=True),
    Column("predicted_ms", "Forecast before", "ms", 1, "none"),
    Column("measured_ms", "Measured", "ms", 1, "not timed"),
    Column("ape_percent", "Error", "%", 1, "none"),
    Column("passport", "Passport"),
    Column("reason", "Remark", prose=True, absent=""),
)


def context(results: Results) -> dict[str, Any]:
    """Devices, errors by kernel family, whole models, and the figures of this stage."""
    machines = (results.json("measure/machines.json") or {})["machines"]
    summary = results.table("measure/summary.csv", LIVE_SUMMARY)
    models = results.table("measure/models.csv", LIVE_MODELS)
    assert summary is not None and models is not None
    overall = summary[summary["family"] == "all"]
    return {
        "machines": [
            {
                "device": machine["title"],
                "where": WHERE[machine["where"]],
                "described": machine["described"],
                "kernels": machine["kernels"],
                "models": machine["models"],
                "torch": machine["versions"].get("torch"),
                "driver": machine["driver"],
            }
            for machine in machines
        ],
        "notes": sorted({note for machine in machines for note in machine["notes"]}),
        "machine_columns": MACHINES,
        "overall": [
            {
                "device": device_name(row["device"]),
                "predictor": display(PREDICTORS, row["predictor"]),
                "where": WHERE[row["where"]],
            }
            | {name: row[name] for name in ("n", "mape_percent", "median_percent")}
            for row in overall.to_dict("records")
        ],
        "overall_columns": OVERALL,
        "summary": [
            {str(name): value for name, value in row.items()}
            | {
                "device": device_name(row["device"]),
                "predictor": display(PREDICTORS, row["predictor"]),
                "family": display(FAMILIES, row["family"]),
            }
            for row in summary.to_dict("records")
        ],
        "summary_columns": SUMMARY,
        "models": [
            {str(name): value for name, value in row.items()}
            | {"device": device_name(row["device"]), "workload": _words(row)}
            for row in models[models["predictor"].isna() | (models["predictor"] == "tilecast")].to_dict("records")
        ],
        "model_columns": MODELS,
        "gpu": any(machine["driver"] for machine in machines),
        "figures": of_stage(results, "measure_"),
        "links": [
            link
            for name in ("kernels", "models", "summary", "calibration")
            for link in results.links("measure", name, (".csv",), name.capitalize())
        ],
    }


def _words(row: dict[Any, Any]) -> str:
    after = f" after {row['context']}" if row["context"] else ""
    return (
        f"{row['model']}, {row['mode']} {row['phase']}, {row['batch_size']} × {row['sequence_length']}{after}, "
        f"{row['dtype']}, {row['attention']} attention, {row['execution']}"
    )
