"""One model on one device: latency with its interval, memory, and where the time goes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.graph.kernels import Kernel, KernelGraph
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.models.choices import OPTIMIZER_STATES, Cell
from tilecast.predict import interval
from tilecast.predict.columns import Columns, joined, of_table
from tilecast.predict.kernel import (
    HOST_CLASSES,
    KERNEL_COLUMNS,
    PASSES,
    WORKLOAD,
    Columnar,
    HostAware,
    Predictor,
    forecast,
    wait_ms,
)
from tilecast.predict.physics.throttle import sustained
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

if TYPE_CHECKING:
    import pandas as pd

TOP = 8
_ONE_RUN = [name for name in KERNEL_COLUMNS if name not in ("phase", "count")]
_ENDS = ("latency_ms", "low_ms", "high_ms")


def described(kernels: Columns, found: Columns) -> dict[str, Any]:
    """Kernels, each `count` times, by class, by source and by what bounds them; those that take most."""
    spent = found["latency_ms"] * kernels["count"]
    total = float(spent.sum())
    return {
        "passports": _shares(found["passport"], spent, total),
        "bounds": _shares(found["bound"], spent, total),
        "classes_ms": _sums(kernels["family"], spent),
        "kernels": round(float(kernels["count"].sum())),
        "claimed": not (np.isnan(found["low_ms"]).any() or np.isnan(found["high_ms"]).any()),
        "top": _top(kernels | {"bound": found["bound"]}, spent, total),
    }


def forecast_model(
    graph: KernelGraph, predictor: Predictor | Columnar, device: Device, host: str = "measured"
) -> dict[str, Any]:
    """The forecast of one model as plain values: figures in their units, shares of the whole time."""
    kernels = of_table(graph.kernels())
    found = sustained(kernels, forecast(predictor, kernels, device), device, graph.about["mode"])
    times = kernels["count"].astype(float)
    middle, low_ms, high_ms = (found[name].astype(float) * times for name in _ENDS)
    busy, low, high = interval.total(middle, low_ms, high_ms, kernels["family"])
    waits, more = _waits_ms(graph, kernels, found["latency_ms"], predictor, host)
    if waits:
        kernels, found = joined(kernels, _idle(kernels, waits)), joined(found, _waited(waits))
    each = found["latency_ms"] * kernels["count"]
    total = float(each.sum())
    low, high = total - float(np.hypot(busy - low, more[0])), total + float(np.hypot(high - busy, more[1]))
    return {
        "device": device.name,
        "predictor": predictor.name,
        **{name: value for name, value in graph.about.items() if name != "parameters"},
        "latency_ms": total,
        "low_ms": None if np.isnan(low) else low,
        "high_ms": None if np.isnan(high) else high,
        "phases_ms": _sums(kernels["phase"], each),
        "waits_ms": waits,
        "memory": memory_bytes(graph) | {"device_bytes": device.memory_bytes},
        **described(kernels, found),
        "kernels": int(times.sum()),
    }


def _waits_ms(
    graph: KernelGraph, kernels: Columns, latency_ms: Array, predictor: Predictor | Columnar, host: str
) -> tuple[dict[str, float], tuple[float, float]]:
    """Milliseconds the GPU waits for its host in each pass, and how much less and more with another host.

    Nothing where the predictor does not forecast hosts, or a compiler fused the kernels: not issued one by one.
    """
    if not isinstance(predictor, HostAware) or graph.about.get("fused"):
        return {}, (0.0, 0.0)
    place: dict[tuple[Any, ...], int] = {}
    for index, row in enumerate(zip(*(kernels[name].tolist() for name in Kernel._fields), strict=True)):
        place.setdefault(row, index)
    order = np.array([place[tuple(kernel)] for kernel, _ in graph.launches()], dtype=int)
    phases, ops = kernels["phase"][order], kernels["op"]
    waits: list[dict[str, float]] = []
    for share, factor in HOST_CLASSES[host]:
        waits.append({})
        for name, members in PASSES.items():
            mine = order[np.isin(phases, members)]
            waits[-1][name] = wait_ms(factor * predictor.issue_ms(ops, name, share)[mine], latency_ms[mine])
    middle, low, high = (sum(passes.values()) for passes in waits)
    return {name: wait for name, wait in waits[0].items() if wait > 0}, (middle - low, high - middle)


def _idle(kernels: Columns, waits: Iterable[str]) -> Columns:
    """What a GPU does while it waits for its host, in the columns of kernels: a row a phase."""
    said = {"family": "other", "op": "wait for the host", "count": 1}
    rows = [said | {"phase": phase} for phase in waits]
    return {name: np.array([row.get(name, 0) for row in rows], dtype=of.dtype) for name, of in kernels.items()}


def _waited(waits: Mapping[str, float]) -> Columns:
    times = np.array(list(waits.values()))
    words = {"bound": "latency", "passport": "extrapolated"}
    said = {name: np.full(len(times), word, dtype=object) for name, word in words.items()}
    return dict.fromkeys(_ENDS, times) | said


def _sums(keys: Array, spent: Array) -> dict[str, float]:
    parts: dict[str, list[float]] = defaultdict(list)
    for key, value in zip(keys.tolist(), spent.tolist(), strict=True):
        parts[key].append(value)
    sums = {key: math.fsum(parts[key]) for key in sorted(parts)}
    return dict(sorted(sums.items(), key=lambda one: -one[1]))


def _shares(keys: Array, spent: Array, total: float) -> dict[str, float]:
    return {name: value / total if total else 0.0 for name, value in _sums(keys, spent).items()}


def _top(kernels: Columns, spent: Array, total: float) -> list[dict[str, Any]]:
    names = ("family", "op", "phase", *"bmnk", "bound")
    parts: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    rows = zip(*(kernels[name].tolist() for name in names), strict=True)
    for row, ms, count in zip(rows, spent.tolist(), kernels["count"].tolist(), strict=True):
        parts[row].append((ms, count))
    sums = [(row, math.fsum(ms for ms, _ in each), sum(count for _, count in each)) for row, each in parts.items()]
    return [
        dict(zip(names, row, strict=True))
        | {"latency_ms": ms, "count": count, "share": ms / total if total else 0.0}
        for row, ms, count in sorted(sums, key=lambda one: -one[1])[:TOP]
    ]


def memory_bytes(graph: KernelGraph) -> dict[str, float]:
    """Bytes of weights, gradients, optimizer states and live tensors, when a step holds most.

    A tensor lives from the kernel that writes it to the last that reads it. What a framework's allocator wastes,
    and the context of the driver, come on top.
    """
    size, parameters = ELEMENT_BYTES[graph.about["dtype"]], float(graph.about["parameters"])
    training = graph.about["mode"] == "training"
    states = OPTIMIZER_STATES.get(str(graph.about["optimizer"]), 0) if training else 0
    parts = {
        "weights_bytes": parameters * size,
        "gradients_bytes": parameters * size * training,
        "optimizer_bytes": parameters * 4 * states,
        "live_bytes": float(_live_bytes(graph)),
    }
    return parts | {"total_bytes": sum(parts.values())}


def _live_bytes(graph: KernelGraph) -> int:
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for place, (reads, writes) in enumerate(graph.wires):
        for wire in writes:
            born.setdefault(wire.tensor, place)
            sizes[wire.tensor] = max(sizes.get(wire.tensor, 0), wire.size_bytes)
            dies[wire.tensor] = place
        for wire in reads:
            if wire.tensor in born:
                dies[wire.tensor] = place
    change = np.zeros(len(graph.wires) + 1)
    for tensor, place in born.items():
        change[place] += sizes[tensor]
        change[dies[tensor] + 1] -= sizes[tensor]
    return int(np.cumsum(change).max(initial=0))


# ---------------------------------------------------------------- many traced models, beside the artifact's graphs


def read_traced(paths: list[str]) -> pd.DataFrame:
    """Kernel lists of traced plain workloads, files `<model>-<mode>-<sequence>-<batch>`, as one table."""
    import pandas as pd

    parts = []
    for path in paths:
        part = read(path, KERNEL_LIST)[list(KERNEL_COLUMNS)]
        part[WORKLOAD] = *Cell.parse(Path(path).stem), "none"
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def forecast_traced(predictor: Predictor, kernels: pd.DataFrame, devices: Mapping[str, Device]) -> pd.DataFrame:
    """The `predictions` table of every traced workload on every device: distinct kernels in one batch a device.

    A kernel list does not say in which order kernels run, so a pass takes what its GPU takes, or else its host.
    """
    import pandas as pd

    distinct = kernels[_ONE_RUN].drop_duplicates(ignore_index=True)
    kernel = kernels[_ONE_RUN].merge(distinct.reset_index(), on=_ONE_RUN, how="left")["index"].to_numpy()
    cells = kernels[WORKLOAD].drop_duplicates(ignore_index=True)
    cell = kernels.groupby(WORKLOAD, sort=False).ngroup().to_numpy()
    often, ops = kernels["count"].to_numpy(dtype=float), distinct["op"].to_numpy()
    parts = []
    for device_name, device in devices.items():
        times = predictor.predict(distinct, device)["latency_ms"].to_numpy(dtype=float)[kernel]
        part = cells.assign(predictor=predictor.name, device=device_name, source="traced here")
        for name in ("forward", "backward"):
            column, phases = f"{name}_ms", PASSES[name]
            runs = np.where(kernels["phase"].isin(phases), often, 0.0)
            part[column] = np.bincount(cell, runs * times, len(cells))
            if isinstance(predictor, HostAware):
                issued = predictor.issue_ms(ops, name)[kernel]
                part[column] = np.maximum(part[column], np.bincount(cell, runs * issued, len(cells)))
        part["latency_ms"] = part["forward_ms"] + part["backward_ms"]
        part.loc[part["mode"] == "inference", "backward_ms"] = np.nan
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
