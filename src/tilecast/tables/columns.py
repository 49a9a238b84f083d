"""Columns and sets of values that the tables of several stages share."""

from __future__ import annotations

from tilecast.tables.schema import Column, integer, number, text

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
    "sequence_length": integer("tokens per sequence", above=0),
    "batch_size": integer("sequences per step", above=0),
    "option": text("none, fused kernels, or four-GPU parallelism", values=OPTIONS),
}
SOURCE = text("where the row comes from: path within the artifact, or a file of this project")
LATENCY = number("milliseconds", above=0)
PART = number("milliseconds; empty where not applicable or not recorded", empty="not recorded", minimum=0)
BACKWARD = number(
    "whole backward pass, accumulation included, milliseconds; empty as above", empty="not recorded", minimum=0
)
ACCUMULATION = number(
    "part of the backward pass that accumulates gradients, milliseconds", empty="not recorded", minimum=0
)
OPERATOR_CLASSES = ("bmm", "linear", "elementwise", "softmax", "norm", "other")
STATISTICS: dict[str, Column] = {
    "n": integer("cells averaged", above=0),
    "mape_percent": number("mean absolute percentage error", minimum=0),
    "median_percent": number("median absolute percentage error", minimum=0),
    "p90_percent": number("90th percentile of the absolute percentage error", minimum=0),
    "worst_percent": number("largest absolute percentage error", minimum=0),
    "bias_percent": number("mean signed percentage error"),
    "ci_low": number("lower end of the bootstrap interval of the mean", empty="not recorded", minimum=0),
    "ci_high": number("upper end of the bootstrap interval of the mean", empty="not recorded", minimum=0),
    "pearson": number("correlation of prediction and measurement", empty="not recorded"),
    "spearman": number("rank correlation of prediction and measurement", empty="not recorded"),
}
