"""What predictors give besides latencies: intervals, parts, errors on a GPU left out of training."""

from __future__ import annotations

from functools import partial

from tilecast.tables.columns import CELL, CELL_KEY, FAMILY, MAPE_PERCENT, PREDICTOR
from tilecast.tables.schema import Table, amount, count, prose, size, text

_end = partial(amount, empty="none claimed")
INTERVALS = Table(
    "intervals",
    "what a predictor claims of each cell; empty where it claims nothing",
    ("predictor", *CELL_KEY),
    predictor=PREDICTOR,
    **CELL,
    low_ms=_end("low end"),
    high_ms=_end("high end"),
)

BREAKDOWN = Table(
    "breakdown",
    "forecast latency of a cell by kernel family and what limits it",
    ("predictor", *CELL_KEY, "family", "bound"),
    predictor=PREDICTOR,
    **CELL,
    family=FAMILY,
    bound=text("what limits the kernels"),
    latency_ms=amount("part of the step, four-GPU overlap not taken off"),
)

LOGO = Table(
    "logo",
    "errors on kernels of a GPU left out of training",
    ("predictor", "family", "device"),
    predictor=PREDICTOR,
    family=FAMILY,
    device=text("GPU left out of training", title="GPU"),
    n=count("kernels of it", title="n"),
    mape_percent=MAPE_PERCENT,
)

DISTANCE = Table(
    "distance",
    "forecasts of weights trained anew against those of the weights shipped",
    ("family",),
    family=FAMILY,
    kernels=size("kernels forecast"),
    median_percent=amount("median distance, of the shipped forecast"),
    worst_percent=amount("largest distance"),
)

CHOSEN = ("definition", "before", "training", "after", "unrecorded", "apart")
CONSTANTS = Table(
    "constants",
    "every constant in the code of the predictors",
    ("module", "name", "values"),
    module=text("file of the library"),
    name=text("constant, field of a class, or the function that holds it", title="Constant"),
    values=text("the literals in the code, as they stand there"),
    meaning=prose("what they are"),
    unit=text("their unit", empty="none", title="In"),
    source=prose("where they are from: paper, document, definition, fitted or argued, and on what"),
    chosen=text("when, by what was known of held-out data; docs/understand/constants.md", values=CHOSEN),
    off=text("the value that takes a constant out of the forecast", title="Without", empty="not ablated"),
)
