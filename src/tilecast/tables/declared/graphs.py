"""Models as lists of kernels, traced here, and where they differ from the artifact's."""

from __future__ import annotations

from tilecast.tables.columns import DTYPE_NAMES, FAMILIES, PHASES
from tilecast.tables.schema import Table, integer, text

# a model as the kernels one step launches: results/graphs/*.parquet
KERNEL_LIST = Table(
    "kernel_list",
    {
        "family": text("kernel family", values=FAMILIES),
        "op": text("operation (linear, bmm, add, addu, gelu, ln, softmax, embedding, copy, ...)"),
        "phase": text("part of the step", values=PHASES),
        "dtype": text("number format", values=DTYPE_NAMES),
        "b": integer("batch of a matrix product; rows of a vector kernel", above=0),
        "m": integer("rows of a matrix product; row length of a vector kernel", above=0),
        "n": integer("columns of a matrix product; 0 for a vector kernel", minimum=0),
        "k": integer("inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
        "operands": integer("input tensors of more than one element", minimum=0),
        "flops": integer("floating-point operations of one run", minimum=0),
        "bytes_read": integer("bytes read by one run", minimum=0),
        "bytes_written": integer("bytes written by one run", minimum=0),
        "count": integer("how often the step runs it", above=0),
        "module": text("path of the module that launches it, layer numbers as *", empty="not recorded"),
        "layer": text("numbers of the layers it occurs in, such as 0-23", empty="not recorded"),
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
)
