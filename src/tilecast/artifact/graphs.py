"""The artifact's operator graphs: which kernels it lets each node of one layer launch, with their dimensions."""

from __future__ import annotations

import ast
import math
from functools import cache
from typing import Any

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.operators import repeats
from tilecast.artifact.store import combine, parse_csv
from tilecast.base.errors import InputError
from tilecast.tables.declared.artifact import GRAPHS

_PHASES = {"FwOps": "forward", "BwOps": "backward", "AccOps": "accumulation"}


def dims_text(dims: Any) -> str:
    """Dimensions as text: `256,512,64,512`; shapes of several tensors are separated by semicolons."""
    if any(isinstance(part, tuple) for part in dims):
        return ";".join(",".join(str(size) for size in shape) or "scalar" for shape in dims)
    return ",".join(str(size) for size in dims) or "scalar"


@cache
def _kernels(literal: str) -> tuple[tuple[str, str], ...]:
    """(kernel, dims) of one cell such as `[['BMM', (256, 512, 64, 512)]]`; a literal, never evaluated."""
    found = []
    for kernel, dims in ast.literal_eval(literal):
        sizes = [size for part in dims for size in (part if isinstance(part, tuple) else (part,))]
        if not isinstance(kernel, str) or not all(type(size) is int and size >= 0 for size in sizes):
            raise ValueError(f"{kernel!r} with dimensions {dims!r}")
        found.append((kernel, dims_text(dims)))
    return tuple(found)


@cache
def _elements(literal: str) -> int:
    """Elements of all tensors in `[(8, 512), (512,)]` or `(8, 512)`; 0 for a shape the tracer did not see."""
    try:
        shapes = ast.literal_eval(literal)
        shapes = shapes if isinstance(shapes, list) else [shapes]
        return sum(math.prod(shape) for shape in shapes)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return 0


def read_graphs(files: dict[str, bytes]) -> pd.DataFrame:
    """The `graphs` table from `results/opgraph/<workload>.csv`; a node without kernels has no row."""
    parts = []
    for path, data in files.items():
        if not path.startswith(names.GRAPHS):
            continue
        work = names.workload(path)._asdict()
        wanted = ["Name", "OpName", *_PHASES, "InputShapes", "OutputShape"]
        frame = parse_csv(path, data, {name: name for name in wanted})[wanted]
        rows = []
        often = repeats(frame["Name"].fillna("").astype("str").tolist(), 2)
        for position, cells in enumerate(frame.itertuples(index=False)):
            shapes = (_elements(cells[5]), _elements(cells[6]))
            for phase, literal in zip(_PHASES, cells[2:5], strict=True):
                try:
                    kernels = _kernels(literal)
                except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
                    raise InputError(
                        f"{path}, line {position + 2}, column {phase}", f"is not a list of kernels ({error})"
                    ) from None
                node = (position, cells[0], cells[1], _PHASES[phase])
                for order, (kernel, dims) in enumerate(kernels):
                    rows.append((*node, order, kernel, dims, *shapes, often[position] == 2))
        columns = ["position", "name", "operator", "phase", "order", "kernel", "dims"]
        columns += ["input_elements", "output_elements", "repeated"]
        parts.append(({**work, "source": path}, pd.DataFrame(rows, columns=columns)))
    return combine(parts, GRAPHS)
