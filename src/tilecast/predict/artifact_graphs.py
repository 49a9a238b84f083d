"""The artifact's graphs as kernels, forecast in one batch and summed as the artifact sums.

A node's latency is the sum of its kernels; the step's the sum over nodes, each as often as the model repeats it,
and what the GPU waits for its host in each pass of an eager model where the predictor knows hosts.
Four-GPU options follow the artifact's own rules (a fixed link, all communication of one step serialised or, for
data parallelism, overlapped with the backward pass); they are its assumption, not a model of collectives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.predict.kernel import (
    BINARY_OPS,
    FLOPS_PER_ELEMENT,
    HOSTS,
    KERNEL_COLUMNS,
    PASSES,
    WORKLOAD,
    HostAware,
    Predictor,
    complete,
    wait_ms,
)
from tilecast.tables.declared.artifact import GRAPHS, LAYERS, OPERATOR_PREDICTIONS, PREDICTIONS
from tilecast.tables.declared.predict import BREAKDOWN, INTERVALS
from tilecast.tables.io import empty, read, write

NODE = [*WORKLOAD, "position"]
_CELL = ["predictor", "device", *WORKLOAD]
_KERNEL = [*(name for name in KERNEL_COLUMNS if name not in ("phase", "count")), "node_bytes_per_element"]
_FAMILY = {"softmax": "softmax", "ln": "norm"}
_COMMUNICATION = {"ALLREDUCE": 3, "ALLREDUCE_ASYNC": 3, "SENDRECV": 1}  # times the buffer crosses a link, 4 GPUs
_LINKED = ("dp4", "tp4", "pp4_1", "pp4_4")
_PIPELINE = 4  # stages of the artifact's pipeline
# ASSUME: the artifact's links, 72 % of half of NVLink's 900 and 600 GB/s (GB: 2^30 bytes); it knows no other.
LINK_BYTES_PER_S = {
    "NVIDIA_H100_80GB_HBM3": 0.72 * 900 / 2 * 2**30,
    "NVIDIA_A100-PCIE-40GB": 0.72 * 600 / 2 * 2**30,
    "NVIDIA_A100-SXM4-40GB": 0.72 * 600 / 2 * 2**30,
}

# ---------------------------------------------------------------- graphs to kernels


@dataclass(frozen=True)
class Workloads:
    """The artifact's graphs, read once: distinct kernels to forecast, and which node runs which of them."""

    distinct: pd.DataFrame  # KERNEL_KERNEL and node_bytes_per_element; communication excluded
    nodes: pd.DataFrame  # NODE, name, operator, repeats, source, cell (row of `cells`): in graph order
    cells: pd.DataFrame  # WORKLOAD, source
    runs: dict[str, csr_array]  # phase -> how often each node (row) runs each distinct kernel (column)
    sent_bytes: dict[str, Array]  # phase -> what each node sends over a link
    sequences: tuple[Array, ...]  # of each cell: its nodes in the order they run forward, layers repeated


def workloads(graphs: pd.DataFrame, layers: Mapping[str, int]) -> Workloads:
    """Read the `graphs` table; `layers` says how many layers each model has."""
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
    columns = ["node", "phase", "sent_bytes", *_KERNEL]
    table = pd.DataFrame(rows, columns=columns)
    computed = table[table["sent_bytes"] == 0]
    kernel = computed.groupby(_KERNEL, sort=False).ngroup().to_numpy()
    distinct = computed[_KERNEL].drop_duplicates(ignore_index=True)
    runs, sent = {}, {}
    for phase in ("forward", "backward", "accumulation"):
        rows_of = (computed["phase"] == phase).to_numpy()
        places = (computed["node"].to_numpy()[rows_of], kernel[rows_of])
        runs[phase] = csr_array((np.ones(rows_of.sum()), places), shape=(len(nodes), len(distinct)))
        part = table[table["phase"] == phase]
        sent[phase] = np.bincount(part["node"], part["sent_bytes"], len(nodes)) if len(nodes) else np.zeros(0)
    cells = nodes[[*WORKLOAD, "source"]].drop_duplicates(ignore_index=True)
    nodes["cell"] = nodes.groupby(WORKLOAD, sort=False).ngroup()
    sequences = tuple(_sequence(part) for _, part in nodes.groupby("cell", sort=True)["repeats"])
    return Workloads(complete(distinct), nodes, cells, runs, sent, sequences)


def _sequence(repeats: pd.Series) -> Array:
    """Nodes (index of `repeats`) in the order they run; the repeated ones are one layer, run `repeats` times."""
    index, often = repeats.index.to_numpy(), repeats.to_numpy()
    layer = np.flatnonzero(often > 1)
    if not len(layer):
        return index
    first, last = layer[0], layer[-1] + 1
    return np.concatenate([index[:first], np.tile(index[first:last], often[first]), index[last:]])


def layers_by_model(path: str) -> dict[str, int]:
    """Number of layers of each model, from a file with the `layers` table."""
    table = read(path, LAYERS)
    return dict(zip(table["model"].tolist(), table["layers"].tolist(), strict=True))


def _parts(graphs: pd.DataFrame, node_of: Array) -> Iterator[tuple[int, bool, list[Any]]]:
    """(node, whether fused, its rows) of each node and phase."""
    names = ["operator", "phase", "kernel", "dims", "input_elements", "output_elements"]
    groups: dict[tuple[int, str, bool], list[Any]] = {}
    for node, operator, *row in zip(node_of.tolist(), *(graphs[name] for name in names), strict=True):
        groups.setdefault((node, row[0], operator == "fused"), []).append(tuple(row))
    for (node, _, fused), part in groups.items():
        yield node, fused, part


def _sizes(dims: str) -> list[int]:
    return [1 if size == "scalar" else int(size) for size in dims.split(",")]


def _kernel(row: Sequence[Any]) -> tuple[Any, ...]:
    """(phase, sent bytes, *_KERNEL) of one kernel of a graph.

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
    """A fused node as one kernel, as the artifact has it: the last operation, the work of all, outer bytes."""
    phase, kernel, dims, read, written = rows[-1]
    if kernel == "MEM":
        return [(phase, 0, *_memory(4 * read, 4 * written))]
    if not kernel.startswith("VEC"):
        raise InputError("graphs", f"a fused node ends in {kernel}", "expected a vector kernel or MEM")
    place = 2 + _KERNEL.index("flops")
    flops = sum(_kernel(row)[place] for row in rows if row[1] != "MEM")
    b, m = _sizes(dims)
    share = 4 * (read + written) / written
    scaled = round(flops / written * b * m)
    return [(phase, 0, *_vector(kernel.removeprefix("VEC"), b, m, scaled, round((share - 4) * b * m), share))]


def _matrix(family: str, b: int, m: int, n: int, k: int) -> tuple[Any, ...]:
    read, written = 4 * b * (m * k + k * n), 4 * b * m * n
    return (family, family, "fp32", b, m, n, k, 2, 2 * b * m * n * k, read, written, 0.0)


def _vector(op: str, b: int, m: int, flops: int, read: int, share: float) -> tuple[Any, ...]:
    operands = 2 if op in BINARY_OPS else 1
    family = _FAMILY.get(op, "elementwise")
    return (family, op, "fp32", b, m, 0, 0, operands, flops, read, 4 * b * m, share)


def _memory(read: int, written: int) -> tuple[Any, ...]:
    return ("memory", "copy", "fp32", 1, max(1, (read + written) // 4), 0, 0, 1, 0, read, written, 0.0)


# ---------------------------------------------------------------- kernels to latencies


@dataclass(frozen=True)
class Forecasts:
    """A predictor's forecasts of all workloads on all devices."""

    cells: pd.DataFrame  # the `predictions` table
    operators: pd.DataFrame  # the `operator_predictions` table
    intervals: pd.DataFrame  # device, WORKLOAD, low_ms, high_ms: see `interval.total`
    breakdown: pd.DataFrame  # device, WORKLOAD, family, bound, latency_ms


def forecast_all(predictor: Predictor, work: Workloads, devices: Mapping[str, Device]) -> Forecasts:
    """Every workload on every device: one batch a device. Linked options only where a link is assumed.

    A predictor whose steps on several GPUs have a model of their own (`artifact_links = False`) gets none of them.
    """
    if work.nodes.empty or not devices:
        return Forecasts(*[pd.DataFrame()] * 4)
    parts = [_on_device(predictor, work, name, device) for name, device in devices.items()]
    tables = [pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)]
    return Forecasts(*tables)


def _on_device(predictor: Predictor, work: Workloads, name: str, device: Device) -> tuple[pd.DataFrame, ...]:
    nodes, composes = work.nodes, getattr(predictor, "artifact_links", True)
    link = LINK_BYTES_PER_S.get(name) if composes else None
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
    cells = work.cells.assign(predictor=predictor.name, device=name)
    for column in ("latency_ms", "forward_ms", "backward_ms"):
        cells[column] = np.bincount(nodes["cell"], operators[column].to_numpy() * often, count)
    cells.loc[cells["mode"] == "inference", "backward_ms"] = np.nan
    waiting = np.zeros((len(HOSTS), count))
    if isinstance(predictor, HostAware):
        for place, quantile in enumerate(HOSTS):
            waits = _waits(work, per_node, predictor, quantile)
            waiting[place] = sum(waits.values())
            if place == 0:
                for column, wait in waits.items():
                    cells[column] += wait
                cells["latency_ms"] += waiting[0]
    linked = cells["option"].isin(_LINKED)
    for cell in cells.index[linked] if link else ():
        latency = compose(operators[nodes["cell"] == cell], str(cells.loc[cell, "option"]))
        cells.loc[cell, ["latency_ms", "forward_ms", "backward_ms"]] = latency, np.nan, np.nan
    cell_of = csr_array((often, (nodes["cell"], np.arange(len(often)))), shape=(count, len(often)))
    runs = cell_of @ sum(work.runs.values())  # how often each cell runs each distinct kernel
    margins = _margins(runs, work.distinct["family"].to_numpy(), forecast)
    below, above = (np.hypot(part, waiting[0] - end) for part, end in zip(margins, waiting[1:], strict=True))
    intervals = cells[_CELL].assign(low_ms=cells["latency_ms"] - below, high_ms=cells["latency_ms"] + above)
    keep = ~linked | (link is not None)
    breakdown = _breakdown(work, forecast, runs, waiting[0])
    breakdown = cells[_CELL].iloc[breakdown.pop("cell")].reset_index(drop=True).join(breakdown)
    known = operators["option"].isin(cells.loc[keep, "option"].unique())
    known_breakdown = breakdown["option"].isin(cells[keep]["option"])
    return cells[keep], operators[known], intervals[keep], breakdown[known_breakdown]


def _waits(
    work: Workloads, per_node: Mapping[str, Array], predictor: HostAware, quantile: float
) -> dict[str, Array]:
    """Milliseconds each cell's GPU waits for its host in each pass, by column; zero for compiled models."""
    ops, eager = work.distinct["op"].to_numpy(), np.flatnonzero(work.cells["option"] == "none")
    result = {}
    for name in ("forward", "backward"):
        issue, busy = np.zeros((2, len(work.nodes)))
        for phase in PASSES[name]:
            issue += work.runs[phase] @ predictor.issue_ms(ops, phase, quantile)
            busy += per_node[phase]
        wait = result[f"{name}_ms"] = np.zeros(len(work.cells))
        for place in eager:
            order = work.sequences[place] if name == "forward" else work.sequences[place][::-1]
            wait[place] = wait_ms(issue[order], busy[order])
    return result


def _margins(runs: csr_array, family: Array, forecast: pd.DataFrame) -> tuple[Array, Array]:
    """Milliseconds from each cell's latency down to the low and up to the high end of its interval.

    What `interval.total` says of one sum, for every cell at once: one family's errors add, families' squares do.
    """
    names, code = np.unique(family.astype(str), return_inverse=True)
    member = csr_array((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(names)))
    middle = forecast["latency_ms"].to_numpy(dtype=float)
    below, above = (
        np.sqrt((runs @ member.multiply(np.abs(end - middle)[:, None])).power(2).sum(axis=1))
        for end in (forecast[name].to_numpy(dtype=float) for name in ("low_ms", "high_ms"))
    )
    return np.asarray(below).ravel(), np.asarray(above).ravel()


def _breakdown(work: Workloads, forecast: pd.DataFrame, runs: csr_array, waiting: Array) -> pd.DataFrame:
    """Milliseconds of each cell by kernel family and bound: cell (row of `cells`), family, bound, latency_ms.

    What the GPU waits for its host is latency of no family.
    """
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
    table = pd.DataFrame({"cell": used // len(names), "family": family, "bound": bound, "latency_ms": sums})
    waits = np.flatnonzero(waiting > 0)
    host = pd.DataFrame({"cell": waits, "family": "other", "bound": "latency", "latency_ms": waiting[waits]})
    whole = pd.concat([table, host]) if len(waits) else table
    return whole.groupby(["cell", "family", "bound"])["latency_ms"].sum().reset_index()


def compose(nodes: pd.DataFrame, option: str) -> float:
    """Milliseconds of a cell on four GPUs from its nodes, in graph order, by the artifact's rules.

    `nodes` has name, repeats, forward_ms and backward_ms (the whole backward pass).
    """
    if option.startswith("pp"):
        return _pipelined(nodes, int(option.split("_")[1]))
    times = nodes["repeats"].to_numpy(dtype=float)
    forward = float(nodes["forward_ms"].fillna(0) @ times)
    if option.startswith("dp"):
        return forward + _overlapped(nodes)
    return forward + float(nodes["backward_ms"].fillna(0) @ times)


def _overlapped(nodes: pd.DataFrame) -> float:
    """Backward milliseconds of data parallelism: gradients are sent one after the other as they are computed."""
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
    layers: str,
    devices: Mapping[str, Device],
    outputs: Mapping[str, str],
) -> None:
    """Forecast the artifact's graphs on the predictor's devices; write cells, operators, intervals, breakdown.

    Without graphs (only transcribed figures at hand) the tables are empty.
    """
    table = read(graphs, GRAPHS)
    vendors = getattr(predictor, "vendors", None)
    chosen = {name: device for name, device in devices.items() if vendors is None or device.vendor in vendors}
    result = forecast_all(predictor, workloads(table, layers_by_model(layers)), chosen)
    for name, frame, declared in (
        ("cells", result.cells, PREDICTIONS),
        ("operators", result.operators, OPERATOR_PREDICTIONS),
        ("intervals", result.intervals, INTERVALS),
        ("breakdown", result.breakdown, BREAKDOWN),
    ):
        write(frame[list(declared.columns)] if len(frame) else empty(declared), outputs[name], declared)
    print(f"{predictor.name}: {len(result.cells)} cells of {len(chosen)} devices")
