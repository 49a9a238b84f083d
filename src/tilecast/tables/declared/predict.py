"""What predictors give besides latencies: intervals, parts, errors on a GPU left out of training."""

from __future__ import annotations

from tilecast.tables.columns import CELL, CELL_KEY, FAMILIES, PART
from tilecast.tables.schema import Table, amount, count, size, text

INTERVALS = Table(
    "intervals",
    "what a predictor claims of each cell; empty where it claims nothing",
    ("predictor", *CELL_KEY),
    predictor=text("who predicted"),
    **CELL,
    low_ms=PART,
    high_ms=PART,
)

BREAKDOWN = Table(
    "breakdown",
    "breakdown",
    ("predictor", *CELL_KEY, "family", "bound"),
    predictor=text("who predicted"),
    **CELL,
    family=text("kernel family", values=FAMILIES),
    bound=text("what limits the kernels"),
    latency_ms=amount("milliseconds of the step, four-GPU overlap not taken off"),
)

LOGO = Table(
    "logo",
    "leave one GPU out",
    ("predictor", "family", "device"),
    predictor=text("who predicted"),
    family=text("kernel family", values=FAMILIES),
    device=text("GPU left out of training"),
    n=count("kernels of it"),
    mape_percent=amount("mean absolute percentage error"),
)

DISTANCE = Table(
    "distance",
    "forecasts of weights trained anew against those of the weights shipped",
    ("family",),
    family=text("kernel family", values=FAMILIES),
    kernels=size("kernels forecast"),
    median_percent=amount("median distance, of the shipped forecast"),
    worst_percent=amount("largest distance"),
)
