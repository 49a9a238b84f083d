"""From kernels to models: the artifact's graphs as kernel lists, forecast in one batch, summed as they sum.

A node's latency is the sum of its kernels; the step's the sum over nodes, each as often as the model repeats it,
and what the GPU waits for its host in each pass of an eager model where the predictor knows hosts.
Four-GPU options follow the artifact's own rules (a fixed link, all communication of one step serialised or, for
data parallelism, overlapped with the backward pass); they are its assumption, not a model of collectives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from tilecast.hardware.device import VENDORS, Device
from tilecast.predict.kernel import HOSTS, HostAware, Predictor, wait_ms
from tilecast.predict.workloads import WORKLOAD, Workloads, layers_of, workloads
from tilecast.tables.declared.artifact import GRAPHS, LABELS, OPERATOR_PREDICTIONS, PREDICTIONS
from tilecast.tables.declared.predict import BREAKDOWN, INTERVALS
from tilecast.tables.io import empty, read, write

if TYPE_CHECKING:
    import pandas as pd

_LINKED = ("dp4", "tp4", "pp4_1", "pp4_4")
_PIPELINE = 4  # stages of the artifact's pipeline

# ASSUME: the artifact's links, 72 % of half of NVLink's 900 and 600 GB/s (GB: 2^30 bytes); it knows no other.
LINK_BYTES_PER_S = {
    "NVIDIA_H100_80GB_HBM3": 0.72 * 900 / 2 * 2**30,
    "NVIDIA_A100-PCIE-40GB": 0.72 * 600 / 2 * 2**30,
    "NVIDIA_A100-SXM4-40GB": 0.72 * 600 / 2 * 2**30,
}


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
        composed = compose(operators[nodes["cell"] == cell], str(cells.loc[cell, "option"]))
        cells.loc[cell, list(composed)] = list(composed.values())
    runs = _runs_of_cells(work, often)
    margins = _margins(runs, work.distinct["family"].to_numpy(), forecast)
    below, above = (np.hypot(part, waiting[0] - end) for part, end in zip(margins, waiting[1:], strict=True))
    intervals = cells[_CELL].assign(low_ms=cells["latency_ms"] - below, high_ms=cells["latency_ms"] + above)
    keep = ~linked | (link is not None)
    breakdown = _breakdown(work, forecast, runs, waiting[0])
    breakdown = cells[_CELL].iloc[breakdown.pop("cell")].reset_index(drop=True).join(breakdown)
    known = operators["option"].isin(cells.loc[keep, "option"].unique())
    return (
        cells[keep],
        operators[known],
        intervals[keep],
        breakdown[breakdown["option"].isin(cells[keep]["option"])],
    )


def _waits(
    work: Workloads, per_node: Mapping[str, np.ndarray], predictor: HostAware, quantile: float
) -> dict[str, np.ndarray]:
    """What the GPU waits for its host in each pass of each cell, by column; a compiled model is not issued so."""
    ops, eager = work.distinct["op"].to_numpy(), np.flatnonzero(work.cells["option"] == "none")
    result = {}
    for column, phases in (("forward_ms", ("forward",)), ("backward_ms", ("backward", "accumulation"))):
        issue, busy = np.zeros((2, len(work.nodes)))
        for phase in phases:
            issue += work.runs[phase] @ predictor.issue_ms(ops, phase, quantile)
            busy += per_node[phase]
        wait = result[column] = np.zeros(len(work.cells))
        for place in eager:
            order = work.sequences[place] if column == "forward_ms" else work.sequences[place][::-1]
            wait[place] = wait_ms(issue[order], busy[order])
    return result


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


def _breakdown(work: Workloads, forecast: pd.DataFrame, runs: csr_array, waiting: np.ndarray) -> pd.DataFrame:
    """Milliseconds of each cell by kernel family and bound: cell (row of `cells`), family, bound, latency_ms.

    What the GPU waits for its host is latency of no family.
    """
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
    table = pd.DataFrame({"cell": used // len(names), "family": family, "bound": bound, "latency_ms": sums})
    waits = np.flatnonzero(waiting > 0)
    host = pd.DataFrame({"cell": waits, "family": "other", "bound": "latency", "latency_ms": waiting[waits]})
    whole = pd.concat([table, host]) if len(waits) else table
    return whole.groupby(["cell", "family", "bound"])["latency_ms"].sum().reset_index()


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
    outputs: Mapping[str, str],
) -> None:
    """Forecast the artifact's graphs on the predictor's devices; write cells, operators, intervals, breakdown.

    Without graphs (only transcribed figures at hand) the tables are empty.
    """
    table = read(graphs, GRAPHS)
    vendors = getattr(predictor, "vendors", VENDORS)
    chosen = {name: device for name, device in devices.items() if device.vendor in vendors}
    result = forecast_all(predictor, workloads(table, layers_of(read(labels, LABELS))), chosen)
    for name, frame, declared in (
        ("cells", result.cells, PREDICTIONS),
        ("operators", result.operators, OPERATOR_PREDICTIONS),
        ("intervals", result.intervals, INTERVALS),
        ("breakdown", result.breakdown, BREAKDOWN),
    ):
        write(frame[list(declared.columns)] if len(frame) else empty(declared), outputs[name], declared)
    print(f"{predictor.name}: {len(result.cells)} cells of {len(chosen)} devices")
