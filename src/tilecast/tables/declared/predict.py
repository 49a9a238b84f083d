"""What predictors give besides latencies: intervals, parts, errors on a GPU left out of training."""

from __future__ import annotations

from tilecast.tables.columns import CELL, CELL_KEY, FAMILIES, PART
from tilecast.tables.schema import Table, integer, number, text

# what a predictor claims of each cell; empty where it claims nothing
INTERVALS = Table(
    "intervals",
    {"predictor": text("who predicted")} | CELL | {"low_ms": PART, "high_ms": PART},
    key=("predictor", *CELL_KEY),
)

BREAKDOWN = Table(
    "breakdown",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "family": text("kernel family", values=FAMILIES),
        "bound": text("what limits the kernels"),
        "latency_ms": number("milliseconds of the step, four-GPU overlap not taken off", minimum=0),
    },
    key=("predictor", *CELL_KEY, "family", "bound"),
)

# leave one GPU out
LOGO = Table(
    "logo",
    {
        "predictor": text("who predicted"),
        "family": text("kernel family", values=FAMILIES),
        "device": text("GPU left out of training"),
        "n": integer("kernels of it", minimum=0),
        "mape_percent": number("mean absolute percentage error", minimum=0),
    },
    key=("predictor", "family", "device"),
)
