"""What the published artifact holds, made tidy: devices, labels, predictions, operators, kernels, graphs."""

from __future__ import annotations

from tilecast.tables.columns import (
    ACCUMULATION,
    BACKWARD,
    CELL,
    CELL_KEY,
    DTYPE_NAMES,
    FAMILIES,
    LATENCY,
    MODES,
    OPTIONS,
    PART,
    PHASES,
    SOURCE,
)
from tilecast.tables.schema import Table, flag, integer, number, text

DEVICES = Table(
    "devices",
    {
        "device": text("GPU, as the artifact's folders name it"),
        "name": text("name the artifact's device file gives"),
        "vendor": text("maker", values=("NVIDIA", "AMD")),
        "memory_bytes": number("device memory", above=0),
        "bandwidth_bytes_per_s": number("peak device memory bandwidth", above=0),
        "sm_count": integer("streaming multiprocessors or compute units", above=0),
        "cores_per_sm": integer("fp32 lanes per multiprocessor", above=0),
        "clock_hz": number("compute clock", above=0),
        "fp32_flops_per_s": number("peak fp32 rate (vector units)", above=0),
        "fp32_matrix_flops_per_s": number(
            "peak fp32 rate of matrix products (AMD matrix cores; else the vector rate)", above=0
        ),
        "l2_bytes": number("level-2 cache", above=0),
        "training_gpu": flag("whether the paper's predictors were trained on it"),
        "source": SOURCE,
    },
    key=("device",),
)

LABELS = Table(
    "labels",
    CELL
    | {
        "latency_ms": number("measured end-to-end latency, milliseconds", above=0),
        "forward_ms": PART,
        "backward_ms": BACKWARD,
        "layers": integer("repeated layers; 0 where the artifact does not say", minimum=0),
        "source": SOURCE,
    },
    key=CELL_KEY,
)

PREDICTIONS = Table(
    "predictions",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "latency_ms": number("predicted end-to-end latency, milliseconds", minimum=0),
        "forward_ms": PART,
        "backward_ms": BACKWARD,
        "source": SOURCE,
    },
    key=("predictor", *CELL_KEY),
)

OPERATOR_LABELS = Table(
    "operator_labels",
    CELL
    | {
        "position": integer("row of the operator in its file, from 0", minimum=0),
        "name": text("name of the graph node"),
        "latency_ms": number("forward plus whole backward, milliseconds", minimum=0),
        "forward_ms": PART,
        "backward_ms": BACKWARD,
        "accumulation_ms": ACCUMULATION,
        "repeats": integer("how often the node occurs in the whole model", minimum=0),
        "source": SOURCE,
    },
    key=(*CELL_KEY, "position"),
)

OPERATOR_PREDICTIONS = Table(
    "operator_predictions",
    {"predictor": text("who predicted")}
    | CELL
    | {
        "position": integer("row of the operator in its file, from 0", minimum=0),
        "name": text("name of the graph node"),
        "operator": text("operator class as the artifact names it (BMM, Linear, VECadd, ...)"),
        "latency_ms": number("forward plus whole backward, milliseconds", minimum=0),
        "forward_ms": PART,
        "backward_ms": BACKWARD,
        "accumulation_ms": ACCUMULATION,
        "repeats": integer("how often the node occurs in the whole model", minimum=0),
        "source": SOURCE,
    },
    key=("predictor", *CELL_KEY, "position"),
)

# measured kernels: the artifact's training and held-out rows, and our own
KERNELS = Table(
    "kernels",
    {
        "device": text("GPU, as the artifact's folders name it"),
        "split": text("train or test, as the artifact stores it", values=("train", "test")),
        "family": text("kernel family", values=FAMILIES),
        "op": text("operation (bmm, linear, add, addu, gelu, softmax, ln, ...)"),
        "dtype": text("number format", values=DTYPE_NAMES),
        "b": integer("batch of a matrix product; rows of a vector kernel", above=0),
        "m": integer("rows of a matrix product; row length of a vector kernel", above=0),
        "n": integer("columns of a matrix product; 0 for a vector kernel", minimum=0),
        "k": integer("inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
        "latency_ms": LATENCY,
        "kernel_name": text("name the profiler recorded", empty="not recorded"),
        "grid": integer("thread blocks launched; 0 where not recorded", minimum=0),
        "grid_x": integer("blocks along x; 0 where not recorded", minimum=0),
        "grid_y": integer("blocks along y; 0 where not recorded", minimum=0),
        "grid_z": integer("blocks along z; 0 where not recorded", minimum=0),
        "block": integer("threads per block; 0 where not recorded", minimum=0),
        "source": SOURCE,
    },
)

# the artifact's operator graphs, one row a kernel
GRAPHS = Table(
    "graphs",
    {
        "model": text("model, as the artifact's files name it"),
        "mode": text("what was run", values=MODES),
        "sequence_length": integer("tokens per sequence", above=0),
        "batch_size": integer("sequences per step", above=0),
        "option": text("none, fused kernels, or four-GPU parallelism", values=OPTIONS),
        "position": integer("row of the operator in its file, from 0", minimum=0),
        "name": text("name of the graph node"),
        "operator": text("operator class as the artifact names it"),
        "phase": text("forward, backward or accumulation", values=PHASES),
        "order": integer("place within the operator's kernels of that phase", minimum=0),
        "kernel": text("kernel as the artifact names it (BMM, Linear, VECadd, MEM, ALLREDUCE, ...)"),
        "dims": text("its dimensions as the artifact writes them, comma-separated"),
        "input_elements": integer("elements of all tensors the node reads", minimum=0),
        "output_elements": integer("elements of the tensor the node writes", minimum=0),
        "repeated": flag("whether the node occurs in every layer of the model, not once in all"),
        "source": SOURCE,
    },
    key=("model", "mode", "sequence_length", "batch_size", "option", "position", "phase", "order"),
)

# what is wrong or missing in the artifact, found while reading it
DEFECTS = Table(
    "defects",
    {
        "kind": text("class of defect, a short slug"),
        "where": text("file, cell or table"),
        "detail": text("one sentence: what was found"),
        "severity": text("what it does to results", values=("note", "affects results")),
    },
)

TIDY = {
    table.name: table
    for table in (DEVICES, LABELS, PREDICTIONS, OPERATOR_LABELS, OPERATOR_PREDICTIONS, KERNELS, GRAPHS)
}
