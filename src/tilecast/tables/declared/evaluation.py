"""Forecasts of the artifact's cells against their measured labels."""

from __future__ import annotations

from tilecast.tables.columns import CELL, CELL_KEY, FAMILIES, GPU_SEEN, LATENCY, OPERATOR_CLASSES, STATISTICS
from tilecast.tables.schema import Table, flag, integer, number, text

ERRORS = Table(
    "errors",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "measured_ms": LATENCY,
        "predicted_ms": number("milliseconds", minimum=0),
        "ape_percent": number("absolute percentage error", minimum=0),
        "distribution": text("in or out of the training distribution", values=("in", "out")),
    },
    key=("predictor", *CELL_KEY),
)

MAPE = Table(
    "mape",
    {
        "predictor": text("who predicted"),
        "device": text("GPU, or `all`"),
        "mode": text("inference, training, or `all`"),
        "option": text("option, or `all`"),
        "distribution": text("in, out, or `all`"),
    }
    | STATISTICS,
    key=("predictor", "device", "mode", "option", "distribution"),
)

# measured plain cells against the interval claimed for them
INTERVAL_CELLS = Table(
    "interval_cells",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "measured_ms": LATENCY,
        "predicted_ms": LATENCY,
        "low_ms": number("lower end of the interval, milliseconds", minimum=0),
        "high_ms": number("upper end of the interval, milliseconds", above=0),
        "position": number(
            "measured - predicted in half-widths, log scale; inside from -1 to 1", empty="not recorded"
        ),
        "distribution": text("in or out of the training distribution", values=("in", "out")),
    },
    key=("predictor", *CELL_KEY),
)

COVERAGE = Table(
    "coverage",
    {
        "predictor": text("who predicted"),
        "device": text("GPU, NVIDIA, AMD, or `all`"),
        "gpu": text("GPU in training, held out, or `all`", values=GPU_SEEN),
        "mode": text("inference, training, or `all`"),
        "distribution": text("in, out, or `all`"),
        "n": integer("measured cells", above=0),
        "claimed_percent": number("share of measurements the interval claims", minimum=0),
        "inside": integer("measured cells inside their interval", minimum=0),
        "coverage_percent": number("the share inside", minimum=0),
        "ci_low": number("lower end of the binomial interval of that share, percent", minimum=0),
        "ci_high": number("upper end of it, percent", minimum=0),
        "width_percent": number("mean width of the interval relative to the forecast", minimum=0),
        "half_widths_needed": number(
            "multiple of the claimed half-width that holds the claimed share",
            empty="not recorded",
            minimum=0,
        ),
    },
    key=("predictor", "device", "gpu", "mode", "distribution"),
)

# the artifact's held-out kernels
KERNEL_ERRORS = Table(
    "kernel_errors",
    {
        "predictor": text("who predicted"),
        "family": text("kernel family", values=FAMILIES),
        "device": text("GPU, or `all`"),
        "gpu": text("GPU in training, held out, or `all`", values=GPU_SEEN),
        "n": integer("kernels", above=0),
        "mape_percent": number("mean absolute percentage error", minimum=0),
        "median_percent": number("median absolute percentage error", minimum=0),
        "bias_percent": number("mean signed percentage error"),
        "claimed_percent": number("share the intervals claim; empty without intervals", empty="not recorded"),
        "coverage_percent": number("share of measurements inside them", empty="not recorded", minimum=0),
    },
    key=("predictor", "family", "device", "gpu"),
)

# share of peak over a sweep of sizes
UTILISATION = Table(
    "utilisation",
    {
        "device": text("GPU, as the artifact's folders name it"),
        "gpu": text("GPU in training or held out", values=GPU_SEEN),
        "family": text("kernel family", values=FAMILIES),
        "swept": text("dimension that runs"),
        "size": integer("its size", above=0),
        "source": text("measured, or who predicted"),
        "latency_ms": LATENCY,
        "share_percent": number("share of the peak rate reached", minimum=0),
    },
    key=("device", "family", "size", "source"),
)

PHASE_ERRORS = Table(
    "phase_errors",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "phase": text("forward or backward pass", values=("forward", "backward")),
        "measured_ms": LATENCY,
        "predicted_ms": number("milliseconds", minimum=0),
        "ape_percent": number("absolute percentage error", minimum=0),
        "distribution": text("in or out of the training distribution", values=("in", "out")),
    },
    key=("predictor", *CELL_KEY, "phase"),
)

PHASE_MAPE = Table(
    "phase_mape",
    {
        "predictor": text("who predicted"),
        "device": text("GPU, NVIDIA, AMD, or `all`"),
        "phase": text("forward or backward pass of a training cell", values=("forward", "backward")),
        "option": text("option, distributed, or `all`"),
        "distribution": text("in, out, or `all`"),
    }
    | STATISTICS,
    key=("predictor", "device", "phase", "option", "distribution"),
)

# one operator class of one cell, repeated layers counted
OPERATOR_CELLS = Table(
    "operator_cells",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "operator_class": text("class of operators", values=OPERATOR_CLASSES),
        "operators": integer("graph nodes of the class, each layer counted once", above=0),
        "measured_ms": LATENCY,
        "predicted_ms": number("milliseconds", minimum=0),
        "ape_percent": number("absolute percentage error", minimum=0),
        "distribution": text("in or out of the training distribution", values=("in", "out")),
    },
    key=("predictor", *CELL_KEY, "operator_class"),
)

OPERATOR_ERRORS = Table(
    "operator_errors",
    {
        "predictor": text("who predicted"),
        "operator_class": text("class of operators", values=OPERATOR_CLASSES),
        "device": text("GPU, NVIDIA, AMD, or `all`"),
        "mode": text("inference, training, or `all`"),
        "distribution": text("in, out, or `all`"),
    }
    | STATISTICS,
    key=("predictor", "operator_class", "device", "mode", "distribution"),
)

# do the measured operators of a cell add up to its measured end-to-end latency?
LABEL_NOISE = Table(
    "label_noise",
    CELL
    | {
        "measured_ms": LATENCY,
        "operators_ms": LATENCY,
        "ratio": number("sum of operators over end to end", above=0),
        "forward_ratio": number("the same for the forward pass", empty="not recorded", minimum=0),
        "backward_ratio": number("the same for the backward pass", empty="not recorded", minimum=0),
        "consistent": flag("whether every ratio is within 10 % of one"),
    },
    key=CELL_KEY,
)

LABEL_NOISE_MAPE = Table(
    "label_noise_mape",
    {
        "predictor": text("who predicted"),
        "device": text("GPU, NVIDIA, AMD, or `all`"),
        "mode": text("inference, training, or `all`"),
        "labels": text(
            "which labels: operators add up, do not, cannot be checked, or `all`",
            values=("consistent", "inconsistent", "unchecked", "all"),
        ),
    }
    | STATISTICS,
    key=("predictor", "device", "mode", "labels"),
)

SUMMARY_COMPARISON = Table(
    "summary_comparison",
    {
        "table": text("summary table of the artifact"),
        "row": text("row of the table"),
        "column": text("column of the table"),
        "published": number("figure the artifact prints", empty="not recorded"),
        "recomputed": number("the same from labels and predictions", empty="not recorded"),
        "equal": flag("whether they agree at the printed precision"),
        "difference": number("recomputed minus published", empty="not recorded"),
        "cause": text("why they differ; empty where they agree", empty="not recorded"),
    },
    key=("table", "row", "column"),
)
