"""Forecasts of the artifact's cells against their measured labels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tilecast.tables.columns import (
    CELL,
    CELL_KEY,
    FAMILIES,
    GPU_SEEN,
    LATENCY,
    MAPE_PERCENT,
    OPERATOR_CLASSES,
    STATISTICS,
    N,
)
from tilecast.tables.schema import Table, amount, count, flag, number, positive, size, text

ERRORS = Table(
    "errors",
    "errors",
    ("predictor", *CELL_KEY),
    predictor=text("who predicted"),
    **CELL,
    measured_ms=LATENCY,
    predicted_ms=amount("milliseconds"),
    ape_percent=amount("absolute percentage error"),
    distribution=text("in or out of the training distribution", values=("in", "out")),
)

MAPE = Table(
    "mape",
    "mape",
    ("predictor", "device", "mode", "option", "distribution"),
    predictor=text("who predicted"),
    device=text("GPU, or `all`"),
    mode=text("inference, training, or `all`"),
    option=text("option, or `all`"),
    distribution=text("in, out, or `all`"),
    **STATISTICS,
)

INTERVAL_CELLS = Table(
    "interval_cells",
    "measured plain cells against the interval claimed for them",
    ("predictor", *CELL_KEY),
    predictor=text("who predicted"),
    **CELL,
    measured_ms=LATENCY,
    predicted_ms=LATENCY,
    low_ms=amount("lower end of the interval, milliseconds"),
    high_ms=positive("upper end of the interval, milliseconds"),
    position=number("measured - predicted in half-widths, log scale; inside from -1 to 1", empty="not recorded"),
    distribution=text("in or out of the training distribution", values=("in", "out")),
)

COVERAGE = Table(
    "coverage",
    "coverage",
    ("predictor", "device", "gpu", "mode", "distribution"),
    predictor=text("who predicted"),
    device=text("GPU, NVIDIA, AMD, or `all`"),
    gpu=text("GPU in training, held out, or `all`", values=GPU_SEEN),
    mode=text("inference, training, or `all`"),
    distribution=text("in, out, or `all`"),
    n=size("measured cells"),
    claimed_percent=amount("share of measurements the interval claims"),
    inside=count("measured cells inside their interval"),
    coverage_percent=amount("the share inside"),
    ci_low=amount("lower end of the binomial interval of that share, percent"),
    ci_high=amount("upper end of it, percent"),
    width_percent=amount("mean width of the interval relative to the forecast"),
    half_widths_needed=number(
        "multiple of the claimed half-width that holds the claimed share",
        empty="not recorded",
        minimum=0,
    ),
)

KERNEL_ERRORS = Table(
    "kernel_errors",
    "the artifact's held-out kernels",
    ("predictor", "family", "device", "gpu"),
    predictor=text("who predicted"),
    family=text("kernel family", values=FAMILIES),
    device=text("GPU, or `all`"),
    gpu=text("GPU in training, held out, or `all`", values=GPU_SEEN),
    n=size("kernels"),
    mape_percent=amount("mean absolute percentage error"),
    median_percent=amount("median absolute percentage error"),
    bias_percent=number("mean signed percentage error"),
    claimed_percent=number("share the intervals claim; empty without intervals", empty="not recorded"),
    coverage_percent=amount("share of measurements inside them", empty="not recorded"),
)

UTILISATION = Table(
    "utilisation",
    "share of peak over a sweep of sizes",
    ("device", "family", "size", "source"),
    device=text("GPU, as the artifact's folders name it"),
    gpu=text("GPU in training or held out", values=GPU_SEEN),
    family=text("kernel family", values=FAMILIES),
    swept=text("dimension that runs"),
    size=size("its size"),
    source=text("measured, or who predicted"),
    latency_ms=LATENCY,
    share_percent=amount("share of the peak rate reached"),
)

PHASE_ERRORS = Table(
    "phase_errors",
    "phase errors",
    ("predictor", *CELL_KEY, "phase"),
    predictor=text("who predicted"),
    **CELL,
    phase=text("forward or backward pass", values=("forward", "backward")),
    measured_ms=LATENCY,
    predicted_ms=amount("milliseconds"),
    ape_percent=amount("absolute percentage error"),
    distribution=text("in or out of the training distribution", values=("in", "out")),
)

PHASE_MAPE = Table(
    "phase_mape",
    "phase mape",
    ("predictor", "device", "phase", "option", "distribution"),
    predictor=text("who predicted"),
    device=text("GPU, NVIDIA, AMD, or `all`"),
    phase=text("forward or backward pass of a training cell", values=("forward", "backward")),
    option=text("option, distributed, or `all`"),
    distribution=text("in, out, or `all`"),
    **STATISTICS,
)

OPERATOR_CELLS = Table(
    "operator_cells",
    "one operator class of one cell, repeated layers counted",
    ("predictor", *CELL_KEY, "operator_class"),
    predictor=text("who predicted"),
    **CELL,
    operator_class=text("class of operators", values=OPERATOR_CLASSES),
    operators=size("graph nodes of the class, each layer counted once"),
    measured_ms=LATENCY,
    predicted_ms=amount("milliseconds"),
    ape_percent=amount("absolute percentage error"),
    distribution=text("in or out of the training distribution", values=("in", "out")),
)

OPERATOR_ERRORS = Table(
    "operator_errors",
    "operator errors",
    ("predictor", "operator_class", "device", "mode", "distribution"),
    predictor=text("who predicted"),
    operator_class=text("class of operators", values=OPERATOR_CLASSES),
    device=text("GPU, NVIDIA, AMD, or `all`"),
    mode=text("inference, training, or `all`"),
    distribution=text("in, out, or `all`"),
    **STATISTICS,
)

LABEL_NOISE = Table(
    "label_noise",
    "do the measured operators of a cell add up to its measured end-to-end latency?",
    CELL_KEY,
    **CELL,
    measured_ms=LATENCY,
    operators_ms=LATENCY,
    ratio=positive("sum of operators over end to end"),
    forward_ratio=amount("the same for the forward pass", empty="not recorded"),
    backward_ratio=amount("the same for the backward pass", empty="not recorded"),
    consistent=flag("whether every ratio is within 10 % of one"),
)

LABEL_NOISE_MAPE = Table(
    "label_noise_mape",
    "label noise mape",
    ("predictor", "device", "mode", "labels"),
    predictor=text("who predicted"),
    device=text("GPU, NVIDIA, AMD, or `all`"),
    mode=text("inference, training, or `all`"),
    labels=text(
        "which labels: operators add up, do not, cannot be checked, or `all`",
        values=("consistent", "inconsistent", "unchecked", "all"),
    ),
    **STATISTICS,
)

SUMMARY_COMPARISON = Table(
    "summary_comparison",
    "summary comparison",
    ("table", "row", "column"),
    table=text("summary table of the artifact"),
    row=text("row of the table"),
    column=text("column of the table"),
    published=number("figure the artifact prints", empty="not recorded"),
    recomputed=number("the same from labels and predictions", empty="not recorded"),
    equal=flag("whether they agree at the printed precision"),
    difference=number("recomputed minus published", empty="not recorded"),
    cause=text("why they differ; empty where they agree", empty="not recorded"),
)

_known = partial(amount, empty="no data")
GOALS = Table(
    "goals",
    "errors set out to be reached, and what was reached",
    ("group",),
    group=text("cells or operators", title="Cells"),
    n=count("measured cells that both predictors forecast", title="n"),
    theirs_percent=_known("MAPE of the authors' predictor", title="NeuSight (authors)"),
    ours_percent=_known("MAPE of this project's", title="Tilecast"),
    bar_percent=_known("goal; the authors' error where none was set", title="Goal"),
    verdict=text("outcome", values=("met", "open", "no data")),
)

_whole = partial(number, unit="%", empty="needs the full artifact")
OWN_GRAPHS = Table(
    "own_graphs",
    "the same forecasts on graphs traced here and on the artifact's",
    MAPE.key,
    **{name: MAPE.columns[name] for name in MAPE.key},
    n=N,
    mape_percent=replace(MAPE_PERCENT, title="MAPE, traced here"),
    bias_percent=STATISTICS["bias_percent"],
    mape_percent_artifact=_whole("MAPE on the artifact's graphs", title="MAPE, artifact’s graphs", minimum=0),
    bias_percent_artifact=_whole("bias on the artifact's graphs"),
)
