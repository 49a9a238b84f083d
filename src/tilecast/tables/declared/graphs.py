"""Models as lists of kernels, traced here, and where they differ from the artifact's."""

from __future__ import annotations

from tilecast.tables.columns import CELL, DTYPE, FAMILY, PHASES
from tilecast.tables.schema import Column, Table, count, prose, size, text

_KERNEL: dict[str, Column] = {
    "family": FAMILY,
    "op": text("operation (linear, bmm, add, addu, gelu, ln, softmax, embedding, copy, ...)"),
    "phase": text("part of the step", values=PHASES),
    "dtype": DTYPE,
    "b": size("batch of a matrix product; rows of a vector kernel"),
    "m": size("rows of a matrix product; row length of a vector kernel"),
    "n": count("columns of a matrix product; 0 for a vector kernel"),
    "k": count("inner dimension of a matrix product; 0 for a vector kernel"),
    "operands": count("input tensors of more than one element"),
    "flops": count("floating-point operations of one run"),
    "bytes_read": count("bytes read by one run"),
    "bytes_written": count("bytes written by one run"),
}
KERNEL_LIST = Table(
    "kernel_list",
    "a model as the kernels one step launches: results/graphs/*.parquet",
    (*_KERNEL, "module"),
    **_KERNEL,
    count=size("how often the step runs it"),
    module=text("path of the module that launches it, layer numbers as *", empty="not recorded"),
    layer=text("numbers of the layers it occurs in, such as 0-23", empty="not recorded"),
)

DIFFERENCES = Table(
    "differences",
    "where a model traced here and the artifact's graph of it differ",
    (),
    **{name: CELL[name] for name in CELL if name != "device"},
    phase=text("part of the step", values=PHASES),
    what=text("kernels compared; or that nothing differs"),
    ours=count("how many here, or of what size"),
    artifact=count("how many, or of what size, in the artifact's graph"),
    reason=prose("why they differ", empty="not explained"),
)
