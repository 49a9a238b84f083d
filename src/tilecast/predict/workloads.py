"""The artifact's graphs as lists of kernels: which distinct kernels there are, and which node runs which."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.errors import InputError
from tilecast.predict.kernel import BINARY_OPS, FLOPS_PER_ELEMENT, KERNEL_COLUMNS, complete

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

WORKLOAD = ["model", "mode", "sequence_length", "batch_size", "option"]
NODE = [*WORKLOAD, "position"]
_FAMILY = {"softmax": "softmax", "ln": "norm"}
_COMMUNICATION = {"ALLREDUCE": 3, "ALLREDUCE_ASYNC": 3, "SENDRECV": 1}  # times the buffer crosses a link, 4 GPUs
_PHASES = ("forward", "backward", "accumulation")


@dataclass(frozen=True)
class Workloads:
    """The artifact's graphs, read once: distinct kernels to forecast, and which node runs which of them."""

    distinct: pd.DataFrame  # KERNEL_COLUMNS and node_bytes_per_element; communication excluded
    nodes: pd.DataFrame  # NODE, name, operator, repeats, source, cell (row of `cells`): in graph order
    cells: pd.DataFrame  # WORKLOAD, source
    runs: dict[str, csr_array]  # phase -> how often each node (row) runs each distinct kernel (column)
    sent_bytes: dict[str, np.ndarray]  # phase -> what each node sends over a link
    sequences: tuple[np.ndarray, ...]  # of each cell: its nodes in the order they run forward, layers repeated


def workloads(graphs: pd.DataFrame, layers: Mapping[str, int]) -> Workloads:
    """Read the `graphs` table; `layers` says how many layers each model has."""
    import pandas as pd
    from scipy.sparse import csr_array

    graphs = graphs.sort_values([*NODE, "phase", "order"], kind="stable", ignore_index=True)
    node_of = graphs.groupby(NODE, sort=False).ngroup().to_numpy()
    nodes = graphs.loc[np.unique(node_of, return_index=True)[1], [*NODE, "name", "operator", "repeated", "source"]]
    nodes = nodes.reset_index(drop=True)
    unknown = set(nodes.loc[nodes["repeated"], "model"]) - set(layers)
    if unknown:
        raise InputError("graphs", f"how many layers {min(unknown)} has is not known", "a label of it says so")
    nodes["repeats"] = np.where(nodes.pop("repeated"), nodes["model"].map(layers).fillna(1), 1).astype(int)
    rows = [
        (node, *kernel)
        for node, fused, part in _parts(graphs, node_of)
        for kernel in (_fused(part) if fused else map(_kernel, part))
    ]
    columns = ["node", "phase", "sent_bytes", *_COLUMNS]
    table = pd.DataFrame(rows, columns=columns)
    computed = table[table["sent_bytes"] == 0]
    kernel = computed.groupby(_COLUMNS, sort=False).ngroup().to_numpy()
    distinct = computed[_COLUMNS].drop_duplicates(ignore_index=True)
    runs, sent = {}, {}
    for phase in _PHASES:
        rows_of = (computed["phase"] == phase).to_numpy()
        places = (computed["node"].to_numpy()[rows_of], kernel[rows_of])
        runs[phase] = csr_array((np.ones(rows_of.sum()), places), shape=(len(nodes), len(distinct)))
        part = table[table["phase"] == phase]
        sent[phase] = np.bincount(part["node"], part["sent_bytes"], len(nodes)) if len(nodes) else np.zeros(0)
    cells = nodes[[*WORKLOAD, "source"]].drop_duplicates(ignore_index=True)
    nodes["cell"] = nodes.groupby(WORKLOAD, sort=False).ngroup()
    sequences = tuple(_sequence(part) for _, part in nodes.groupby("cell", sort=True)["repeats"])
    return Workloads(complete(distinct), nodes, cells, runs, sent, sequences)


def _sequence(repeats: pd.Series) -> np.ndarray:
    """Nodes (index of `repeats`) in running order; the repeated ones are one layer, run as often as it says."""
    index, often = repeats.index.to_numpy(), repeats.to_numpy()
    layer = np.flatnonzero(often > 1)
    if not len(layer):
        return index
    first, last = layer[0], layer[-1] + 1
    return np.concatenate([index[:first], np.tile(index[first:last], often[first]), index[last:]])


def layers_of(labels: pd.DataFrame) -> dict[str, int]:
    """How many layers each model has, as the labels say."""
    known = labels[labels["layers"] > 0].groupby("model")["layers"].max()
    return {str(model): int(layers) for model, layers in known.items()}


_COLUMNS = [name for name in KERNEL_COLUMNS if name not in ("phase", "count")] + ["node_bytes_per_element"]


def _parts(graphs: pd.DataFrame, node_of: np.ndarray) -> Any:
    """(node, whether fused, its rows) of each node; a fused node's rows of each phase apart."""
    names = ["operator", "phase", "kernel", "dims", "input_elements", "output_elements"]
    rows = list(zip(*(graphs[name] for name in names), strict=True))
    groups: dict[tuple[int, str], list[Any]] = {}
    for node, row in zip(node_of, rows, strict=True):
        groups.setdefault((int(node), row[1]), []).append(row[1:])
    fused = dict(zip(node_of.tolist(), (graphs["operator"] == "fused").tolist(), strict=True))
    for (node, _), part in groups.items():
        yield node, fused[node], part


def _sizes(dims: str) -> list[int]:
    return [1 if size == "scalar" else int(size) for size in dims.split(",")]


def _kernel(row: Sequence[Any]) -> tuple[Any, ...]:
    """(phase, sent bytes, *_COLUMNS) of one kernel of a graph.

    NeuSight counts a vector kernel's bytes from the shapes of its node in every phase. That is what a forward
    kernel moves; a backward one is counted from its own operands, and the node's count kept beside it.
    """
    phase, kernel, dims, read, written = row
    if kernel == "Linear":
        m, k, n = _sizes(dims)
        return (phase, 0, *_matrix("linear", 1, m, n, k))
    if kernel == "BMM":
        b, m, k, n = _sizes(dims)
        return (phase, 0, *_matrix("bmm", b, m, n, k))
    if kernel == "MEM":
        shapes = [math.prod(_sizes(shape)) for shape in dims.split(";")]
        return (phase, 0, *_memory(4 * sum(shapes[:-1]), 4 * shapes[-1]))
    if kernel in _COMMUNICATION:
        sent = 4 * _COMMUNICATION[kernel] * math.prod(_sizes(dims))
        return (phase, sent, "other", kernel.lower(), "fp32", 1, 1, 0, 0, 1, 0, 0, 0, 0.0)
    op = kernel.removeprefix("VEC")
    b, m = _sizes(dims)
    share = 4 * (read + written) / written if written else 0.0
    own = 4 * b * m * (2 if op in BINARY_OPS else 1)
    moved = round((share - 4) * b * m) if phase == "forward" and share > 4 else own
    return (phase, 0, *_vector(op, b, m, FLOPS_PER_ELEMENT.get(_FAMILY.get(op, ""), 1) * b * m, moved, share))


def _fused(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """A fused node as one kernel, as the artifact sees it: the last operation, everyone's work, outer bytes."""
    phase, kernel, dims, read, written = rows[-1]
    if kernel == "MEM":
        return [(phase, 0, *_memory(4 * read, 4 * written))]
    if not kernel.startswith("VEC"):
        raise InputError("graphs", f"a fused node ends in {kernel}", "expected a vector kernel or MEM")
    flops = sum(row[5] for row in map(_flops, rows))
    b, m = _sizes(dims)
    share = 4 * (read + written) / written
    scaled = round(flops / written * b * m)
    return [(phase, 0, *_vector(kernel.removeprefix("VEC"), b, m, scaled, round((share - 4) * b * m), share))]


def _flops(row: Sequence[Any]) -> tuple[Any, ...]:
    flops = 0 if row[1] == "MEM" else _kernel(row)[2 + _COLUMNS.index("flops")]
    return (*row, flops)


def _matrix(family: str, b: int, m: int, n: int, k: int) -> tuple[Any, ...]:
    read, written = 4 * b * (m * k + k * n), 4 * b * m * n
    return (family, family, "fp32", b, m, n, k, 2, 2 * b * m * n * k, read, written, 0.0)


def _vector(op: str, b: int, m: int, flops: int, read: int, share: float) -> tuple[Any, ...]:
    operands = 2 if op in BINARY_OPS else 1
    family = _FAMILY.get(op, "elementwise")
    return (family, op, "fp32", b, m, 0, 0, operands, flops, read, 4 * b * m, share)


def _memory(read: int, written: int) -> tuple[Any, ...]:
    return ("memory", "copy", "fp32", 1, max(1, (read + written) // 4), 0, 0, 1, 0, read, written, 0.0)
