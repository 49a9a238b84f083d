"""The declared schema of every tidy table: what stages agree on. `tilecast.tables.io` reads and writes by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "integer", "number", "flag"]


@dataclass(frozen=True)
class Column:
    """One column: what it holds, whether a cell may be empty, and the range or set a value must lie in."""

    kind: Kind
    meaning: str
    nullable: bool = False
    minimum: float | None = None  # inclusive
    above: float | None = None  # exclusive
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """A declared table: its columns in order, and the columns whose combination may occur only once."""

    columns: dict[str, Column]
    key: tuple[str, ...] = ()


MODES = ("inference", "training")
OPTIONS = ("none", "fusion", "dp4", "tp4", "pp4_1", "pp4_4")
PHASES = ("forward", "backward", "accumulation", "optimizer")
FAMILIES = ("bmm", "linear", "elementwise", "softmax", "norm", "memory", "attention", "conv", "other")
DTYPE_NAMES = ("fp32", "tf32", "fp16", "bf16")

GPU_SEEN = ("in training", "held out", "all")

CELL_KEY = ("device", "model", "mode", "sequence_length", "batch_size", "option")

CELL: dict[str, Column] = {
    "device": Column("text", "GPU, as the artifact's folders name it"),
    "model": Column("text", "model, as the artifact's files name it"),
    "mode": Column("text", "what was run", values=MODES),
    "sequence_length": Column("integer", "tokens per sequence", above=0),
    "batch_size": Column("integer", "sequences per step", above=0),
    "option": Column("text", "none, fused kernels, or four-GPU parallelism", values=OPTIONS),
}
SOURCE = Column("text", "where the row comes from: path within the artifact, or a file of this project")
LATENCY = Column("number", "milliseconds", above=0)
PART = Column("number", "milliseconds; empty where not applicable or not recorded", nullable=True, minimum=0)
BACKWARD = Column(
    "number", "whole backward pass, accumulation included, milliseconds; empty as above", nullable=True, minimum=0
)
ACCUMULATION = Column(
    "number", "part of the backward pass that accumulates gradients, milliseconds", nullable=True, minimum=0
)

OPERATOR_CLASSES = ("bmm", "linear", "elementwise", "softmax", "norm", "other")
STATISTICS: dict[str, Column] = {
    "n": Column("integer", "cells averaged", above=0),
    "mape_percent": Column("number", "mean absolute percentage error", minimum=0),
    "median_percent": Column("number", "median absolute percentage error", minimum=0),
    "p90_percent": Column("number", "90th percentile of the absolute percentage error", minimum=0),
    "worst_percent": Column("number", "largest absolute percentage error", minimum=0),
    "bias_percent": Column("number", "mean signed percentage error"),
    "ci_low": Column("number", "lower end of the bootstrap interval of the mean", nullable=True, minimum=0),
    "ci_high": Column("number", "upper end of the bootstrap interval of the mean", nullable=True, minimum=0),
    "pearson": Column("number", "correlation of prediction and measurement", nullable=True),
    "spearman": Column("number", "rank correlation of prediction and measurement", nullable=True),
}

TABLES: dict[str, Table] = {
    "devices": Table(
        {
            "device": Column("text", "GPU, as the artifact's folders name it"),
            "name": Column("text", "name the artifact's device file gives"),
            "vendor": Column("text", "maker", values=("NVIDIA", "AMD")),
            "memory_bytes": Column("number", "device memory", above=0),
            "bandwidth_bytes_per_s": Column("number", "peak device memory bandwidth", above=0),
            "sm_count": Column("integer", "streaming multiprocessors or compute units", above=0),
            "cores_per_sm": Column("integer", "fp32 lanes per multiprocessor", above=0),
            "clock_hz": Column("number", "compute clock", above=0),
            "fp32_flops_per_s": Column("number", "peak fp32 rate (vector units)", above=0),
            "fp32_matrix_flops_per_s": Column(
                "number", "peak fp32 rate of matrix products (AMD matrix cores; else the vector rate)", above=0
            ),
            "l2_bytes": Column("number", "level-2 cache", above=0),
            "training_gpu": Column("flag", "whether the paper's predictors were trained on it"),
            "source": SOURCE,
        },
        key=("device",),
    ),
    "labels": Table(
        CELL
        | {
            "latency_ms": Column("number", "measured end-to-end latency, milliseconds", above=0),
            "forward_ms": PART,
            "backward_ms": BACKWARD,
            "layers": Column("integer", "repeated layers; 0 where the artifact does not say", minimum=0),
            "source": SOURCE,
        },
        key=CELL_KEY,
    ),
    "predictions": Table(
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "latency_ms": Column("number", "predicted end-to-end latency, milliseconds", minimum=0),
            "forward_ms": PART,
            "backward_ms": BACKWARD,
            "source": SOURCE,
        },
        key=("predictor", *CELL_KEY),
    ),
    "operator_labels": Table(
        CELL
        | {
            "position": Column("integer", "row of the operator in its file, from 0", minimum=0),
            "name": Column("text", "name of the graph node"),
            "latency_ms": Column("number", "forward plus whole backward, milliseconds", minimum=0),
            "forward_ms": PART,
            "backward_ms": BACKWARD,
            "accumulation_ms": ACCUMULATION,
            "repeats": Column("integer", "how often the node occurs in the whole model", minimum=0),
            "source": SOURCE,
        },
        key=(*CELL_KEY, "position"),
    ),
    "operator_predictions": Table(
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "position": Column("integer", "row of the operator in its file, from 0", minimum=0),
            "name": Column("text", "name of the graph node"),
            "operator": Column("text", "operator class as the artifact names it (BMM, Linear, VECadd, ...)"),
            "latency_ms": Column("number", "forward plus whole backward, milliseconds", minimum=0),
            "forward_ms": PART,
            "backward_ms": BACKWARD,
            "accumulation_ms": ACCUMULATION,
            "repeats": Column("integer", "how often the node occurs in the whole model", minimum=0),
            "source": SOURCE,
        },
        key=("predictor", *CELL_KEY, "position"),
    ),
    "kernels": Table(  # measured kernels: the artifact's training and held-out rows, and our own
        {
            "device": Column("text", "GPU, as the artifact's folders name it"),
            "split": Column("text", "train or test, as the artifact stores it", values=("train", "test")),
            "family": Column("text", "kernel family", values=FAMILIES),
            "op": Column("text", "operation (bmm, linear, add, addu, gelu, softmax, ln, ...)"),
            "dtype": Column("text", "number format", values=DTYPE_NAMES),
            "b": Column("integer", "batch of a matrix product; rows of a vector kernel", above=0),
            "m": Column("integer", "rows of a matrix product; row length of a vector kernel", above=0),
            "n": Column("integer", "columns of a matrix product; 0 for a vector kernel", minimum=0),
            "k": Column("integer", "inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
            "latency_ms": LATENCY,
            "kernel_name": Column("text", "name the profiler recorded", nullable=True),
            "grid": Column("integer", "thread blocks launched; 0 where not recorded", minimum=0),
            "grid_x": Column("integer", "blocks along x; 0 where not recorded", minimum=0),
            "grid_y": Column("integer", "blocks along y; 0 where not recorded", minimum=0),
            "grid_z": Column("integer", "blocks along z; 0 where not recorded", minimum=0),
            "block": Column("integer", "threads per block; 0 where not recorded", minimum=0),
            "source": SOURCE,
        },
    ),
    "graphs": Table(  # the artifact's operator graphs, one row a kernel
        {
            "model": Column("text", "model, as the artifact's files name it"),
            "mode": Column("text", "what was run", values=MODES),
            "sequence_length": Column("integer", "tokens per sequence", above=0),
            "batch_size": Column("integer", "sequences per step", above=0),
            "option": Column("text", "none, fused kernels, or four-GPU parallelism", values=OPTIONS),
            "position": Column("integer", "row of the operator in its file, from 0", minimum=0),
            "name": Column("text", "name of the graph node"),
            "operator": Column("text", "operator class as the artifact names it"),
            "phase": Column("text", "forward, backward or accumulation", values=PHASES),
            "order": Column("integer", "place within the operator's kernels of that phase", minimum=0),
            "kernel": Column("text", "kernel as the artifact names it (BMM, Linear, VECadd, MEM, ALLREDUCE, ...)"),
            "dims": Column("text", "its dimensions as the artifact writes them, comma-separated"),
            "input_elements": Column("integer", "elements of all tensors the node reads", minimum=0),
            "output_elements": Column("integer", "elements of the tensor the node writes", minimum=0),
            "repeated": Column("flag", "whether the node occurs in every layer of the model, not once in all"),
            "source": SOURCE,
        },
        key=("model", "mode", "sequence_length", "batch_size", "option", "position", "phase", "order"),
    ),
    "kernel_list": Table(  # a model as the kernels one step launches: results/graphs/*.parquet
        {
            "family": Column("text", "kernel family", values=FAMILIES),
            "op": Column("text", "operation (linear, bmm, add, addu, gelu, ln, softmax, embedding, copy, ...)"),
            "phase": Column("text", "part of the step", values=PHASES),
            "dtype": Column("text", "number format", values=DTYPE_NAMES),
            "b": Column("integer", "batch of a matrix product; rows of a vector kernel", above=0),
            "m": Column("integer", "rows of a matrix product; row length of a vector kernel", above=0),
            "n": Column("integer", "columns of a matrix product; 0 for a vector kernel", minimum=0),
            "k": Column("integer", "inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
            "operands": Column("integer", "input tensors of more than one element", minimum=0),
            "flops": Column("integer", "floating-point operations of one run", minimum=0),
            "bytes_read": Column("integer", "bytes read by one run", minimum=0),
            "bytes_written": Column("integer", "bytes written by one run", minimum=0),
            "count": Column("integer", "how often the step runs it", above=0),
            "module": Column("text", "path of the module that launches it, layer numbers as *", nullable=True),
            "layer": Column("text", "numbers of the layers it occurs in, such as 0-23", nullable=True),
        },
        key=(
            "family",
            "op",
            "phase",
            "dtype",
            "b",
            "m",
            "n",
            "k",
            "operands",
            "flops",
            "bytes_read",
            "bytes_written",
            "module",
        ),
    ),
    "defects": Table(  # what is wrong or missing in the artifact, found while reading it
        {
            "kind": Column("text", "class of defect, a short slug"),
            "where": Column("text", "file, cell or table"),
            "detail": Column("text", "one sentence: what was found"),
            "severity": Column("text", "what it does to results", values=("note", "affects results")),
        },
    ),
    "errors": Table(
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "measured_ms": LATENCY,
            "predicted_ms": Column("number", "milliseconds", minimum=0),
            "ape_percent": Column("number", "absolute percentage error", minimum=0),
            "distribution": Column("text", "in or out of the training distribution", values=("in", "out")),
        },
        key=("predictor", *CELL_KEY),
    ),
    "mape": Table(
        {
            "predictor": Column("text", "who predicted"),
            "device": Column("text", "GPU, or `all`"),
            "mode": Column("text", "inference, training, or `all`"),
            "option": Column("text", "option, or `all`"),
            "distribution": Column("text", "in, out, or `all`"),
        }
        | STATISTICS,
        key=("predictor", "device", "mode", "option", "distribution"),
    ),
    "intervals": Table(  # what a predictor claims of each cell; empty where it claims nothing
        {"predictor": Column("text", "who predicted")} | CELL | {"low_ms": PART, "high_ms": PART},
        key=("predictor", *CELL_KEY),
    ),
    "breakdown": Table(
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "family": Column("text", "kernel family", values=FAMILIES),
            "bound": Column("text", "what limits the kernels"),
            "latency_ms": Column("number", "milliseconds of the step, four-GPU overlap not taken off", minimum=0),
        },
        key=("predictor", *CELL_KEY, "family", "bound"),
    ),
    "logo": Table(  # leave one GPU out
        {
            "predictor": Column("text", "who predicted"),
            "family": Column("text", "kernel family", values=FAMILIES),
            "device": Column("text", "GPU left out of training"),
            "n": Column("integer", "kernels of it", minimum=0),
            "mape_percent": Column("number", "mean absolute percentage error", minimum=0),
        },
        key=("predictor", "family", "device"),
    ),
    "interval_cells": Table(  # measured plain cells against the interval claimed for them
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "measured_ms": LATENCY,
            "predicted_ms": LATENCY,
            "low_ms": Column("number", "lower end of the interval, milliseconds", minimum=0),
            "high_ms": Column("number", "upper end of the interval, milliseconds", above=0),
            "position": Column(
                "number", "measured - predicted in half-widths, log scale; inside from -1 to 1", nullable=True
            ),
            "distribution": Column("text", "in or out of the training distribution", values=("in", "out")),
        },
        key=("predictor", *CELL_KEY),
    ),
    "coverage": Table(
        {
            "predictor": Column("text", "who predicted"),
            "device": Column("text", "GPU, NVIDIA, AMD, or `all`"),
            "gpu": Column("text", "GPU in training, held out, or `all`", values=GPU_SEEN),
            "mode": Column("text", "inference, training, or `all`"),
            "distribution": Column("text", "in, out, or `all`"),
            "n": Column("integer", "measured cells", above=0),
            "claimed_percent": Column("number", "share of measurements the interval claims", minimum=0),
            "inside": Column("integer", "measured cells inside their interval", minimum=0),
            "coverage_percent": Column("number", "the share inside", minimum=0),
            "ci_low": Column("number", "lower end of the binomial interval of that share, percent", minimum=0),
            "ci_high": Column("number", "upper end of it, percent", minimum=0),
            "width_percent": Column("number", "mean width of the interval relative to the forecast", minimum=0),
            "half_widths_needed": Column(
                "number",
                "multiple of the claimed half-width that holds the claimed share",
                nullable=True,
                minimum=0,
            ),
        },
        key=("predictor", "device", "gpu", "mode", "distribution"),
    ),
    "kernel_errors": Table(  # the artifact's held-out kernels
        {
            "predictor": Column("text", "who predicted"),
            "family": Column("text", "kernel family", values=FAMILIES),
            "device": Column("text", "GPU, or `all`"),
            "gpu": Column("text", "GPU in training, held out, or `all`", values=GPU_SEEN),
            "n": Column("integer", "kernels", above=0),
            "mape_percent": Column("number", "mean absolute percentage error", minimum=0),
            "median_percent": Column("number", "median absolute percentage error", minimum=0),
            "bias_percent": Column("number", "mean signed percentage error"),
            "claimed_percent": Column(
                "number", "share the intervals claim; empty without intervals", nullable=True
            ),
            "coverage_percent": Column("number", "share of measurements inside them", nullable=True, minimum=0),
        },
        key=("predictor", "family", "device", "gpu"),
    ),
    "utilisation": Table(  # share of peak over a sweep of sizes
        {
            "device": Column("text", "GPU, as the artifact's folders name it"),
            "gpu": Column("text", "GPU in training or held out", values=GPU_SEEN),
            "family": Column("text", "kernel family", values=FAMILIES),
            "swept": Column("text", "dimension that runs"),
            "size": Column("integer", "its size", above=0),
            "source": Column("text", "measured, or who predicted"),
            "latency_ms": LATENCY,
            "share_percent": Column("number", "share of the peak rate reached", minimum=0),
        },
        key=("device", "family", "size", "source"),
    ),
    "phase_errors": Table(
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "phase": Column("text", "forward or backward pass", values=("forward", "backward")),
            "measured_ms": LATENCY,
            "predicted_ms": Column("number", "milliseconds", minimum=0),
            "ape_percent": Column("number", "absolute percentage error", minimum=0),
            "distribution": Column("text", "in or out of the training distribution", values=("in", "out")),
        },
        key=("predictor", *CELL_KEY, "phase"),
    ),
    "phase_mape": Table(
        {
            "predictor": Column("text", "who predicted"),
            "device": Column("text", "GPU, NVIDIA, AMD, or `all`"),
            "phase": Column("text", "forward or backward pass of a training cell", values=("forward", "backward")),
            "option": Column("text", "option, distributed, or `all`"),
            "distribution": Column("text", "in, out, or `all`"),
        }
        | STATISTICS,
        key=("predictor", "device", "phase", "option", "distribution"),
    ),
    "operator_cells": Table(  # one operator class of one cell, repeated layers counted
        {"predictor": Column("text", "who predicted")}
        | CELL
        | {
            "operator_class": Column("text", "class of operators", values=OPERATOR_CLASSES),
            "operators": Column("integer", "graph nodes of the class, each layer counted once", above=0),
            "measured_ms": LATENCY,
            "predicted_ms": Column("number", "milliseconds", minimum=0),
            "ape_percent": Column("number", "absolute percentage error", minimum=0),
            "distribution": Column("text", "in or out of the training distribution", values=("in", "out")),
        },
        key=("predictor", *CELL_KEY, "operator_class"),
    ),
    "operator_errors": Table(
        {
            "predictor": Column("text", "who predicted"),
            "operator_class": Column("text", "class of operators", values=OPERATOR_CLASSES),
            "device": Column("text", "GPU, NVIDIA, AMD, or `all`"),
            "mode": Column("text", "inference, training, or `all`"),
            "distribution": Column("text", "in, out, or `all`"),
        }
        | STATISTICS,
        key=("predictor", "operator_class", "device", "mode", "distribution"),
    ),
    "label_noise": Table(  # do the measured operators of a cell add up to its measured end-to-end latency?
        CELL
        | {
            "measured_ms": LATENCY,
            "operators_ms": LATENCY,
            "ratio": Column("number", "sum of operators over end to end", above=0),
            "forward_ratio": Column("number", "the same for the forward pass", nullable=True, minimum=0),
            "backward_ratio": Column("number", "the same for the backward pass", nullable=True, minimum=0),
            "consistent": Column("flag", "whether every ratio is within 10 % of one"),
        },
        key=CELL_KEY,
    ),
    "label_noise_mape": Table(
        {
            "predictor": Column("text", "who predicted"),
            "device": Column("text", "GPU, NVIDIA, AMD, or `all`"),
            "mode": Column("text", "inference, training, or `all`"),
            "labels": Column(
                "text",
                "which labels: operators add up, do not, cannot be checked, or `all`",
                values=("consistent", "inconsistent", "unchecked", "all"),
            ),
        }
        | STATISTICS,
        key=("predictor", "device", "mode", "labels"),
    ),
    "summary_comparison": Table(
        {
            "table": Column("text", "summary table of the artifact"),
            "row": Column("text", "row of the table"),
            "column": Column("text", "column of the table"),
            "published": Column("number", "figure the artifact prints", nullable=True),
            "recomputed": Column("number", "the same from labels and predictions", nullable=True),
            "equal": Column("flag", "whether they agree at the printed precision"),
            "difference": Column("number", "recomputed minus published", nullable=True),
            "cause": Column("text", "why they differ; empty where they agree", nullable=True),
        },
        key=("table", "row", "column"),
    ),
    "collective_measurements": Table(  # transcribed: resources/published/nccl_collectives.csv
        {
            "system": Column("text", "system, as data/systems names it"),
            "nccl": Column("text", "version of NCCL"),
            "op": Column("text", "collective"),
            "gpus": Column("integer", "GPUs of the group", above=1),
            "bytes": Column("integer", "size of the whole buffer, as nccl-tests counts", above=0),
            "latency_ms": LATENCY,
        },
        key=("system", "op", "gpus", "bytes"),
    ),
    "collectives": Table(  # collectives forecast and measured
        {
            "basis": Column("text", "what was left out", values=("leave-one-size-out", "spec-only")),
            "system": Column("text", "system, as data/systems names it"),
            "op": Column("text", "collective"),
            "gpus": Column("integer", "GPUs of the group", above=1),
            "bytes": Column("integer", "size of the whole buffer, as nccl-tests counts", above=0),
            "reference": Column("text", "measured system whose curves were used"),
            "measured_ms": LATENCY,
            "predicted_ms": Column("number", "forecast of the curves as shipped, milliseconds", above=0),
            "held_out_ms": Column("number", "forecast without this size, or this system, milliseconds", above=0),
            "ape_percent": Column("number", "absolute percentage error of the held-out forecast", minimum=0),
        },
        key=("basis", "system", "op", "gpus", "bytes"),
    ),
    "collectives_mape": Table(
        {
            "basis": Column("text", "what was left out", values=("leave-one-size-out", "spec-only")),
            "system": Column("text", "system, as data/systems names it"),
            "op": Column("text", "collective"),
            "sizes": Column("text", "which sizes", values=("all", "from 1 MiB")),
            "n": Column("integer", "cells averaged", above=0),
            "mape_percent": Column("number", "mean absolute percentage error", minimum=0),
            "worst_percent": Column("number", "largest absolute percentage error", minimum=0),
        },
        key=("basis", "system", "op", "sizes"),
    ),
    "moe_alltoall_measurements": Table(  # transcribed: resources/published/moe_alltoall.csv
        {
            "system": Column("text", "system, as data/systems names it"),
            "kernel": Column("text", "way of sending", values=("low latency", "high throughput")),
            "gpus": Column("integer", "GPUs among which the experts lie", above=1),
            "tokens": Column("integer", "of each GPU", above=0),
            "dispatch_us": Column(
                "number", "to the experts; empty where a rate is stated", nullable=True, above=0
            ),
            "combine_us": Column("number", "back; empty where a rate is stated", nullable=True, above=0),
            "dispatch_bytes_per_s": Column("number", "rate stated instead", nullable=True, above=0),
            "combine_bytes_per_s": Column("number", "rate stated instead", nullable=True, above=0),
            "in_use": Column("flag", "whether the kernel is meant for so many tokens"),
            "source": SOURCE,
        },
        key=("system", "kernel", "gpus", "tokens"),
    ),
    "moe_systems": Table(  # the expert-parallel study: a strategy on a system, as published and as physics allows
        {
            "mode": Column("text", "whose arithmetic", values=("as_published", "physical")),
            "system": Column("text", "system of the study"),
            "strategy": Column("text", "how GPUs are used", values=("expert_parallel", "data_parallel", "hybrid")),
            "spread": Column("text", "replicas (DP) x expert parallel (EP)"),
            "gpus": Column("integer", "GPUs", above=0),
            "verdict": Column(
                "text", "whether experts fit", values=("not asked", "resident", "offloaded", "impossible")
            ),
            "reason": Column("text", "why"),
            "resident_percent": Column(
                "number", "share of a GPU's experts in its memory", nullable=True, minimum=0
            ),
            "baseline_tokens_per_s": Column("number", "without the prefetcher", nullable=True, above=0),
            "prophet_tokens_per_s": Column("number", "with it", nullable=True, above=0),
            "speedup": Column("number", "prophet over baseline", nullable=True, above=0),
            "baseline_communication_percent": Column("number", "share of time", nullable=True, minimum=0),
            "prophet_communication_percent": Column("number", "share of time", nullable=True, minimum=0),
            "baseline_waiting_percent": Column("number", "share of time, for the host", nullable=True, minimum=0),
            "prophet_waiting_percent": Column("number", "share of time, for the host", nullable=True, minimum=0),
            "communicated_bytes_per_token": Column("number", "between GPUs", nullable=True, minimum=0),
            "communication_reduction": Column("number", "time communicated, before over after", nullable=True),
            "baseline_efficiency_percent": Column("number", "of GPUs times one GPU's rate", nullable=True),
            "prophet_efficiency_percent": Column("number", "of GPUs times one GPU's rate", nullable=True),
            "baseline_usd_per_million_tokens": Column("number", "dollars", nullable=True, above=0),
            "prophet_usd_per_million_tokens": Column("number", "dollars", nullable=True, above=0),
            "saving_usd_per_year": Column("number", "if every hour is billed by itself", nullable=True),
            "baseline_clusters": Column("number", "whole clusters for a month's tokens", nullable=True, above=0),
            "prophet_clusters": Column("number", "whole clusters for a month's tokens", nullable=True, above=0),
            "reserved_saving_usd_per_year": Column("number", "if whole clusters are kept", nullable=True),
        },
        key=("mode", "system", "strategy"),
    ),
    "claim_rows": Table(  # the rows a claim's value rests on
        {
            "id": Column("text", "claim"),
            "dataset": Column("text", "table queried"),
            "row": Column("text", "the row, by its key"),
            "measured_ms": Column("number", "milliseconds", nullable=True, minimum=0),
            "predicted_ms": Column("number", "milliseconds", nullable=True, minimum=0),
            "value": Column("text", "what the row contributes: an error in percent, a figure, a statement"),
        },
    ),
    "claims": Table(
        {
            "id": Column("text", "short name of the claim"),
            "source": Column("text", "document that makes the claim"),
            "quote": Column("text", "the words of the claim"),
            "claimed": Column("text", "the figure or statement claimed"),
            "unit": Column("text", "its unit", nullable=True),
            "reproduced": Column("text", "what came out", nullable=True),
            "n": Column("integer", "rows the value rests on", minimum=0),
            "verdict": Column(
                "text",
                "outcome of the audit",
                values=("reproduced", "within tolerance", "contradicted", "no data", "not testable here"),
            ),
            "definition": Column("text", "query that gives the value"),
            "explanation": Column("text", "one sentence for the reader"),
        },
        key=("id",),
    ),
}
