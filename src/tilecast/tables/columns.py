"""Columns and sets of values that the tables of several stages share."""

from __future__ import annotations

from tilecast.tables.schema import Column, amount, number, positive, size, text

MODES = ("inference", "training")
OPTIONS = ("none", "fusion", "dp4", "tp4", "pp4_1", "pp4_4")
PHASES = ("forward", "backward", "accumulation", "optimizer")
FAMILIES = ("bmm", "linear", "elementwise", "softmax", "norm", "memory", "attention", "conv", "other")
DTYPE_NAMES = ("fp32", "tf32", "fp16", "bf16")
GPU_SEEN = ("in training", "held out", "all")
CELL_KEY = ("device", "model", "mode", "sequence_length", "batch_size", "option")
CELL: dict[str, Column] = {
    "device": text("GPU, as the artifact's folders name it"),
    "model": text("model, as the artifact's files name it"),
    "mode": text("what was run", values=MODES),
    "sequence_length": size("tokens per sequence"),
    "batch_size": size("sequences per step"),
    "option": text("none, fused kernels, or four-GPU parallelism", values=OPTIONS),
}
SOURCE = text("where the row comes from: path within the artifact, or a file of this project")
LATENCY = positive("milliseconds")
PART = amount("milliseconds; empty where not applicable or not recorded", empty="not recorded")
BACKWARD = number(
    "whole backward pass, accumulation included, milliseconds; empty as above", empty="not recorded", minimum=0
)
ACCUMULATION = number(
    "part of the backward pass that accumulates gradients, milliseconds", empty="not recorded", minimum=0
)
OPERATOR_CLASSES = ("bmm", "linear", "elementwise", "softmax", "norm", "other")
PREDICTOR = text("who predicted", title="Predictor")
N = size("cells averaged", title="n")
MAPE_PERCENT = amount("mean absolute percentage error", title="MAPE")
STATISTICS: dict[str, Column] = {
    "n": N,
    "mape_percent": MAPE_PERCENT,
    "median_percent": amount("median absolute percentage error"),
    "p90_percent": amount("90th percentile of the absolute percentage error"),
    "worst_percent": amount("largest absolute percentage error"),
    "bias_percent": number("mean signed percentage error"),
    "ci_low": amount("lower end of the bootstrap interval of the mean", empty="not recorded"),
    "ci_high": amount("upper end of the bootstrap interval of the mean", empty="not recorded"),
    "pearson": number("correlation of prediction and measurement", empty="not recorded"),
    "spearman": number("rank correlation of prediction and measurement", empty="not recorded"),
}
