"""Columns and sets of values that the tables of several stages share."""

from __future__ import annotations

from tilecast.tables.schema import Column, amount, number, positive, size, text

MODES = ("inference", "training")
OPTIONS = ("none", "fusion", "dp4", "tp4", "pp4_1", "pp4_4")
PHASES = ("forward", "backward", "accumulation", "optimizer")
FAMILIES = ("bmm", "linear", "elementwise", "softmax", "norm", "memory", "attention", "conv", "other")
OPERATOR_CLASSES = ("bmm", "linear", "elementwise", "softmax", "norm", "other")
DTYPE_NAMES = ("fp32", "tf32", "fp16", "bf16")
GPU_SEEN = ("in training", "held out", "all")

# A cell: one measured workload of the artifact.
CELL: dict[str, Column] = {
    "device": text("GPU, as the artifact's folders name it", title="GPU"),
    "model": text("model, as the artifact's files name it"),
    "mode": text("what was run", values=MODES),
    "sequence_length": size("tokens per sequence", title="Sequence", unit="tokens"),
    "batch_size": size("sequences per step", title="Batch", unit="sequences"),
    "option": text("none, fused kernels, or four-GPU parallelism", values=OPTIONS),
}
CELL_KEY = tuple(CELL)
DEVICES = text("GPU, NVIDIA, AMD, or `all`", title="GPU")
FAMILY = text("kernel family", title="Kernels", values=FAMILIES)
DTYPE = text("number format", title="Format", values=DTYPE_NAMES)
SOURCE = text("where the row comes from: path within the artifact, or a file of this project")
PREDICTOR = text("who predicted")

LATENCY = positive("latency")
MEASURED = positive("measured latency", title="Measured")
PART = amount("latency of the forward pass; empty where not applicable", empty="not recorded")
BACKWARD = amount("latency of the whole backward pass, accumulation included", empty="not recorded")
ACCUMULATION = amount("part of the backward pass that accumulates gradients", empty="not recorded")
LOW = positive("low end of the 80 % interval", empty="none claimed")
HIGH = positive("high end of the 80 % interval", empty="none claimed")

APE = amount("absolute percentage error", title="Error")
N = size("cells averaged", title="n")
MAPE_PERCENT = amount("mean absolute percentage error", title="MAPE")
MEDIAN_PERCENT = amount("median absolute percentage error")
WORST_PERCENT = amount("largest absolute percentage error")
CLOSER_PERCENT = amount(
    "share on which `tilecast` is closer to the measurement", title="Tilecast closer", digits=0, empty="itself"
)
BIAS_PERCENT = number("mean signed percentage error")
FEW = "too few cells"
STATISTICS: dict[str, Column] = {
    "n": N,
    "mape_percent": MAPE_PERCENT,
    "median_percent": MEDIAN_PERCENT,
    "p90_percent": amount("90th percentile of the absolute percentage error", title="90th percentile"),
    "worst_percent": WORST_PERCENT,
    "bias_percent": BIAS_PERCENT,
    "ci_low": amount("lower end of the bootstrap interval of the mean", title="Low", unit="%", empty=FEW),
    "ci_high": amount("upper end of the bootstrap interval of the mean", title="High", unit="%", empty=FEW),
    "pearson": number("correlation of prediction and measurement", digits=3, empty=FEW),
    "spearman": number("rank correlation of prediction and measurement", digits=3, empty=FEW),
}
