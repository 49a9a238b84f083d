"""From kernels to models: the artifact's graphs as kernel lists, forecast in one batch, summed as they sum.

A node's latency is the sum of its kernels; the step's the sum over nodes, each as often as the model repeats it.
Four-GPU options follow the artifact's own rules (a fixed link, all communication of one step serialised or, for
data parallelism, overlapped with the backward pass); they are its assumption, not a model of collectives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from tilecast.errors import InputError
from tilecast.hardware.device import Device
from tilecast.predict.base import BINARY_OPS, FLOPS_PER_ELEMENT, KERNEL_COLUMNS, Predictor, complete
from tilecast.schemas import TABLES
from tilecast.tables import empty, read, write, write_free

if TYPE_CHECKING:
    import pandas as pd

WORKLOAD = ["model", "mode", "sequence_length", "batch_size", "option"]
NODE = [*WORKLOAD, "position"]
_FAMILY = {"softmax": "softmax", "ln": "norm"}
_COMMUNICATION = {"ALLREDUCE": 3, "ALLREDUCE_ASYNC": 3, "SENDRECV": 1}  # times the buffer crosses a link, 4 GPUs
_LINKED = ("dp4", "tp4", "pp4_1", "pp4_4")
_PHASES = ("forward", "backward", "accumulation")
_PIPELINE = 4  # stages of the artifact's pipeline

# ASSUME: the artifact's links, 72 % of half of NVLink's 900 and 600 GB/s (GB: 2^30 bytes); it knows no other.
LINK_BYTES_PER_S = {
    "NVIDIA_H100_80GB_HBM3": 0.72 * 900 / 2 * 2**30,
    "NVIDIA_A100-PCIE-40GB": 0.72 * 600 / 2 * 2**30,
    "NVIDIA_A100-SXM4-40GB": 0.72 * 600 / 2 * 2**30,
}


@dataclass(frozen=True)
class Workloads:
    """The artifact's graphs, read once: distinct kernels to forecast, and which node runs which of them."""

    distinct: pd.DataFrame  # KERNEL_COLUMNS and node_bytes_per_element; communication excluded
    nodes: pd.DataFrame  # NODE, name, operator, repeats, source, cell (row of `cells`): in graph order
    cells: pd.DataFrame  # WORKLOAD, source
    runs: dict[str, csr_array]  # phase -> how often each node (row) runs each distinct kernel (column)
    sent_bytes: dict[str, np.ndarray]  # phase -> what each node sends over a link


def workloads(graphs: pd.DataFrame, layers: Mapping[str, int]) -> Workloads:
    """Read the `graphs` table; `layers` says how many layers each model has."""
    import pandas as pd

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
    return Workloads(complete(distinct), nodes, cells, runs, sent)


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


_CELL = ["predictor", "device", *WORKLOAD]
_EMPTY = {"intervals": [*_CELL, "low_ms", "high_ms"], "breakdown": [*_CELL, "family", "bound", "latency_ms"]}


@dataclass(frozen=True)
class Forecasts:
    """A predictor's forecasts of all workloads on all devices."""

    cells: pd.DataFrame  # the `predictions` table
    operators: pd.DataFrame  # the `operator_predictions` table
    intervals: pd.DataFrame  # device, WORKLOAD, low_ms, high_ms: see `conformal.total`
    breakdown: pd.DataFrame  # device, WORKLOAD, family, bound, latency_ms


def forecast_all(predictor: Predictor, work: Workloads, devices: Mapping[str, Device]) -> Forecasts:
    """Every workload on every device: one batch a device. Linked options only where a link is assumed."""
    import pandas as pd

    if work.nodes.empty or not devices:
        nothing = {name: pd.DataFrame(columns=columns) for name, columns in _EMPTY.items()}
        return Forecasts(pd.DataFrame(), pd.DataFrame(), nothing["intervals"], nothing["breakdown"])
    parts = [_on_device(predictor, work, name, device) for name, device in devices.items()]
    tables = [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]
    return Forecasts(*tables)


def _on_device(predictor: Predictor, work: Workloads, name: str, device: Device) -> tuple[pd.DataFrame, ...]:

    nodes, link = work.nodes, LINK_BYTES_PER_S.get(name)
    forecast = predictor.predict(work.distinct, device)
    times = forecast["latency_ms"].to_numpy(dtype=float)
    per_node = {
        phase: runs @ times + (work.sent_bytes[phase] / link * 1e3 if link else 0.0)
        for phase, runs in work.runs.items()
    }
    operators = nodes.drop(columns="cell").assign(predictor=predictor.name, device=name)
    operators["forward_ms"] = per_node["forward"]
    operators["accumulation_ms"] = per_node["accumulation"]
    operators["backward_ms"] = per_node["backward"] + operators["accumulation_ms"]
    operators["latency_ms"] = operators["forward_ms"] + operators["backward_ms"]
    often, count = nodes["repeats"].to_numpy(dtype=float), len(work.cells)

    def per_cell(values: Any) -> np.ndarray:
        return np.bincount(nodes["cell"], np.asarray(values) * often, count)

    cells = work.cells.assign(predictor=predictor.name, device=name)
    for column in ("latency_ms", "forward_ms", "backward_ms"):
        cells[column] = per_cell(operators[column])
    cells.loc[cells["mode"] == "inference", "backward_ms"] = np.nan
    linked = cells["option"].isin(_LINKED)
    for cell in cells.index[linked] if link else ():
        composed = compose(operators[nodes["cell"] == cell], str(cells.loc[cell, "option"]))
        cells.loc[cell, list(composed)] = list(composed.values())
    runs = _runs_of_cells(work, often)
    below, above = _margins(runs, work.distinct["family"].to_numpy(), forecast)
    intervals = cells[_CELL].assign(low_ms=cells["latency_ms"] - below, high_ms=cells["latency_ms"] + above)
    keep = ~linked | (link is not None)
    breakdown = _breakdown(work, forecast, runs)
    breakdown = cells[_CELL].iloc[breakdown.pop("cell")].reset_index(drop=True).join(breakdown)
    known = operators["option"].isin(cells.loc[keep, "option"].unique())
    return (
        cells[keep],
        operators[known],
        intervals[keep],
        breakdown[breakdown["option"].isin(cells[keep]["option"])],
    )


def _runs_of_cells(work: Workloads, often: np.ndarray) -> csr_array:
    """How often each cell (row) runs each distinct kernel (column)."""
    cell_of = csr_array((often, (work.nodes["cell"], np.arange(len(often)))), shape=(len(work.cells), len(often)))
    return cell_of @ sum(work.runs.values())


def _margins(runs: csr_array, family: np.ndarray, forecast: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds from each cell's latency down to the low and up to the high end of its interval.

    What `conformal.total` says of one sum, for every cell at once: one family's errors add, families' squares do.
    """
    names, code = np.unique(family.astype(str), return_inverse=True)
    member = csr_array((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(names)))
    middle = forecast["latency_ms"].to_numpy(dtype=float)
    below, above = (
        np.sqrt((runs @ member.multiply(np.abs(end - middle)[:, None])).power(2).sum(axis=1))
        for end in (forecast[name].to_numpy(dtype=float) for name in ("low_ms", "high_ms"))
    )
    return np.asarray(below).ravel(), np.asarray(above).ravel()


def _breakdown(work: Workloads, forecast: pd.DataFrame, runs: csr_array) -> pd.DataFrame:
    """Milliseconds of each cell by kernel family and bound: cell (row of `cells`), family, bound, latency_ms."""
    import pandas as pd

    total = runs.tocoo()
    kind = pd.DataFrame({"family": work.distinct["family"].to_numpy(), "bound": forecast["bound"].to_numpy()})
    groups = kind.groupby(["family", "bound"], sort=True)
    code = groups.ngroup().to_numpy()
    names = list(groups.groups)
    cell, kernel = total.coords
    cost = total.data * forecast["latency_ms"].to_numpy(dtype=float)[kernel]
    place = cell * len(names) + code[kernel]
    used = np.unique(place)
    sums = np.bincount(place, cost)[used]
    family, bound = zip(*(names[index] for index in used % len(names)), strict=True) if len(used) else ((), ())
    return pd.DataFrame({"cell": used // len(names), "family": family, "bound": bound, "latency_ms": sums})


def compose(nodes: pd.DataFrame, option: str) -> dict[str, float | None]:
    """One cell's latency_ms, forward_ms and backward_ms from its nodes, in graph order, by the artifact's rules.

    `nodes` has name, repeats, forward_ms and backward_ms (the whole backward pass).
    """
    times = nodes["repeats"].to_numpy(dtype=float)
    forward = float(nodes["forward_ms"].fillna(0) @ times)
    backward = float(nodes["backward_ms"].fillna(0) @ times)
    if option.startswith("dp"):
        return _unsplit(forward + _overlapped(nodes))
    if option.startswith("pp"):
        return _unsplit(_pipelined(nodes, int(option.split("_")[1])))
    if option.startswith("tp"):
        return _unsplit(forward + backward)
    training = bool((nodes["mode"] == "training").any())
    return {"latency_ms": forward + backward, "forward_ms": forward, "backward_ms": backward if training else None}


def _unsplit(latency_ms: float) -> dict[str, float | None]:
    return {"latency_ms": latency_ms, "forward_ms": None, "backward_ms": None}


def _overlapped(nodes: pd.DataFrame) -> float:
    """Backward milliseconds of data parallelism: gradients are sent as they come, one after the other."""
    rows = list(zip(nodes["name"], nodes["backward_ms"].fillna(0), nodes["repeats"], strict=True))
    layer = [row for row in rows if row[2] > 1]
    first = next((place for place, row in enumerate(rows) if row[2] > 1), len(rows))
    whole = rows[:first] + layer * int(layer[0][2] if layer else 0) + rows[first + len(layer) :]
    computed = sent = 0.0
    for name, milliseconds, _ in reversed(whole):
        if name.endswith("_grad"):
            sent = max(sent, computed) + milliseconds
        else:
            computed += milliseconds
    return max(sent, computed)


def _pipelined(nodes: pd.DataFrame, microbatches: int) -> float:
    """Milliseconds of microbatches through four stages, each link crossed as often as the artifact counts."""
    layer = (nodes["repeats"] > 1).to_numpy()
    tail = np.maximum.accumulate(layer) & ~layer
    sends = nodes["name"].str.contains("sendrecv").to_numpy()
    share = np.where(layer, nodes["repeats"].to_numpy() / _PIPELINE, 1)
    forward, backward = (nodes[name].fillna(0).to_numpy() * share for name in ("forward_ms", "backward_ms"))
    both, steps = forward + backward, microbatches + _PIPELINE - 1
    return float(
        both[~layer & ~tail].sum()
        + both[tail & ~sends].sum() * microbatches
        + both[layer].sum() * steps
        + forward[sends].sum() * (steps + _PIPELINE - 1)
        + backward[sends].sum() * steps
    )


def forecast_artifact(
    predictor: Predictor,
    graphs: str,
    labels: str,
    devices: Mapping[str, Device],
    vendors: Sequence[str],
    outputs: Mapping[str, str],
) -> None:
    """Forecast the artifact's graphs on devices of some vendors; write cells, operators, intervals, breakdown.

    Without graphs (only transcribed figures at hand) the tables are empty.
    """
    table = read(graphs, "graphs")
    chosen = {name: device for name, device in devices.items() if device.vendor in vendors}
    result = forecast_all(predictor, workloads(table, layers_of(read(labels, "labels"))), chosen)
    for name, frame, schema in (
        ("cells", result.cells, "predictions"),
        ("operators", result.operators, "operator_predictions"),
    ):
        declared = list(TABLES[schema].columns)
        write(frame[declared] if len(frame) else empty(schema), outputs[name], schema)
    write_free(result.intervals, outputs["intervals"])
    write_free(result.breakdown, outputs["breakdown"])
    print(f"{predictor.name}: {len(result.cells)} cells of {len(chosen)} devices")
