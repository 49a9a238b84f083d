"""What the published artifact holds, made tidy: devices, labels, predictions, operators, kernels, graphs."""

from __future__ import annotations

from tilecast.tables.columns import (
    ACCUMULATION,
    BACKWARD,
    CELL,
    CELL_KEY,
    DTYPE,
    FAMILY,
    LATENCY,
    PART,
    PHASES,
    PREDICTOR,
    SOURCE,
)
from tilecast.tables.schema import Table, amount, count, flag, positive, prose, size, text

DEVICES = Table(
    "devices",
    "GPUs as the artifact describes them",
    ("device",),
    device=CELL["device"],
    name=text("name the artifact's device file gives"),
    vendor=text("maker", values=("NVIDIA", "AMD")),
    memory_bytes=positive("device memory"),
    bandwidth_bytes_per_s=positive("peak device memory bandwidth"),
    sm_count=size("streaming multiprocessors or compute units"),
    cores_per_sm=size("fp32 lanes per multiprocessor", unit="lanes"),
    clock_hz=positive("compute clock"),
    fp32_flops_per_s=positive("peak fp32 rate (vector units)"),
    fp32_matrix_flops_per_s=positive("peak fp32 rate of matrix products (AMD matrix cores; else the vector rate)"),
    l2_bytes=positive("level-2 cache"),
    training_gpu=flag("whether the paper's predictors were trained on it"),
    source=SOURCE,
)

LABELS = Table(
    "labels",
    "measured latencies of whole models",
    CELL_KEY,
    **CELL,
    latency_ms=positive("measured end-to-end latency"),
    forward_ms=PART,
    backward_ms=BACKWARD,
    layers=count("repeated layers; 0 where the artifact does not say"),
    source=SOURCE,
)

LAYERS = Table(
    "layers",
    "layers",
    ("model",),
    model=text("model, as the artifact's files name it"),
    layers=size("repeated layers"),
)

PREDICTIONS = Table(
    "predictions",
    "forecast latencies of whole models",
    ("predictor", *CELL_KEY),
    predictor=PREDICTOR,
    **CELL,
    latency_ms=amount("predicted end-to-end latency"),
    forward_ms=PART,
    backward_ms=BACKWARD,
    source=SOURCE,
)

OPERATOR_LABELS = Table(
    "operator_labels",
    "measured latencies of operators",
    (*CELL_KEY, "position"),
    **CELL,
    position=count("row of the operator in its file, from 0"),
    name=text("name of the graph node"),
    latency_ms=amount("forward plus whole backward"),
    forward_ms=PART,
    backward_ms=BACKWARD,
    accumulation_ms=ACCUMULATION,
    repeats=count("how often the node occurs in the whole model"),
    source=SOURCE,
)

OPERATOR_PREDICTIONS = Table(
    "operator_predictions",
    "forecast latencies of operators",
    ("predictor", *CELL_KEY, "position"),
    predictor=PREDICTOR,
    **CELL,
    position=count("row of the operator in its file, from 0"),
    name=text("name of the graph node"),
    operator=text("operator class as the artifact names it (BMM, Linear, ...)"),
    latency_ms=amount("forward plus whole backward"),
    forward_ms=PART,
    backward_ms=BACKWARD,
    accumulation_ms=ACCUMULATION,
    repeats=count("how often the node occurs in the whole model"),
    source=SOURCE,
)

KERNELS = Table(
    "kernels",
    "measured kernels: the artifact's training and held-out rows, and our own",
    (),
    device=CELL["device"],
    split=text("train or test, as the artifact stores it", values=("train", "test")),
    family=FAMILY,
    op=text("operation (bmm, linear, add, addu, gelu, softmax, ln, ...)"),
    dtype=DTYPE,
    b=size("batch of a matrix product; rows of a vector kernel"),
    m=size("rows of a matrix product; row length of a vector kernel"),
    n=count("columns of a matrix product; 0 for a vector kernel"),
    k=count("inner dimension of a matrix product; 0 for a vector kernel"),
    latency_ms=LATENCY,
    kernel_name=text("name the profiler recorded", empty="not recorded"),
    grid=count("thread blocks launched; 0 where not recorded"),
    grid_x=count("blocks along x; 0 where not recorded"),
    grid_y=count("blocks along y; 0 where not recorded"),
    grid_z=count("blocks along z; 0 where not recorded"),
    block=count("threads per block; 0 where not recorded"),
    source=SOURCE,
)

GRAPHS = Table(
    "graphs",
    "the artifact's operator graphs, one row a kernel",
    ("model", "mode", "sequence_length", "batch_size", "option", "position", "phase", "order"),
    **{name: CELL[name] for name in CELL if name != "device"},
    position=count("row of the operator in its file, from 0"),
    name=text("name of the graph node"),
    operator=text("operator class as the artifact names it"),
    phase=text("forward, backward or accumulation", values=PHASES),
    order=count("place within the operator's kernels of that phase"),
    kernel=text("kernel as the artifact names it (BMM, Linear, VECadd, MEM, ALLREDUCE, ...)"),
    dims=text("its dimensions as the artifact writes them, comma-separated"),
    input_elements=count("elements of all tensors the node reads"),
    output_elements=count("elements of the tensor the node writes"),
    repeated=flag("whether the node occurs in every layer of the model, not once in all"),
    source=SOURCE,
)

DEFECTS = Table(
    "defects",
    "what is wrong or missing in the artifact, found while reading it",
    (),
    kind=text("class of defect, a short slug"),
    where=prose("file, cell or table"),
    detail=prose("one sentence: what was found", title="What was found"),
    severity=text("what it does to results", values=("note", "affects results")),
)

TRANSCRIPTION = Table(
    "transcription",
    "resources/published/end_to_end.csv: measured and predicted latencies, six digits",
    (*CELL_KEY, "predictor"),
    **CELL,
    predictor=text("who predicted, or `measured`"),
    latency_ms=amount("end-to-end latency"),
    forward_ms=PART,
    backward_ms=BACKWARD,
    commit=text("commit of the artifact"),
    folder=text("folder within it"),
)

TIDY = {
    table.name: table
    for table in (DEVICES, LABELS, PREDICTIONS, OPERATOR_LABELS, OPERATOR_PREDICTIONS, KERNELS, GRAPHS)
}
