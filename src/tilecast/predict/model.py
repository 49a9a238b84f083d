"""One model on one device: latency with its interval, memory, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.graph.kernels import Kernel, KernelGraph
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.models.choices import OPTIMIZER_STATES, Cell
from tilecast.predict import interval
from tilecast.predict.kernel import HOST_CLASSES, KERNEL_COLUMNS, PASSES, WORKLOAD, HostAware, Predictor, wait_ms
from tilecast.predict.physics.throttle import sustained
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

TOP = 8
_ONE_RUN = [name for name in KERNEL_COLUMNS if name not in ("phase", "count")]
_ENDS = ("latency_ms", "low_ms", "high_ms")


def described(kernels: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, Any]:
    """Kernels, each `count` times, by class, by source and by what bounds them; those that take most."""
    table = kernels.assign(
        latency_ms=forecast["latency_ms"].to_numpy(dtype=float) * kernels["count"].to_numpy(dtype=float),
        bound=forecast["bound"].to_numpy(),
        passport=forecast["passport"].to_numpy(),
    )
    total = float(table["latency_ms"].sum())
    return {
        "passports": _shares(table, "passport", total),
        "bounds": _shares(table, "bound", total),
        "classes_ms": _sums(table, ["family"]),
        "kernels": round(float(kernels["count"].sum())),
        "claimed": bool(forecast[["low_ms", "high_ms"]].notna().all(axis=None)),
        "top": _top(table, total),
    }


def forecast_model(
    graph: KernelGraph, predictor: Predictor, device: Device, host: str = "measured"
) -> dict[str, Any]:
    """The forecast of one model as plain values: figures in their units, shares of the whole time."""
    kernels = graph.kernels()
    forecast = sustained(kernels, predictor.predict(kernels, device), device, graph.about["mode"])
    times = kernels["count"].to_numpy(dtype=float)
    middle, low_ms, high_ms = (forecast[name].to_numpy(dtype=float) * times for name in _ENDS)
    busy, low, high = interval.total(middle, low_ms, high_ms, kernels["family"].to_numpy())
    waits, more = _waits_ms(graph, kernels, forecast["latency_ms"].to_numpy(dtype=float), predictor, host)
    if waits:
        idle = dict.fromkeys(kernels.columns, 0) | {"family": "other", "op": "wait for the host", "count": 1}
        rows = [idle | {"phase": phase} for phase in waits]
        kernels = pd.concat([kernels, pd.DataFrame(rows)], ignore_index=True)
        ran = {"latency_ms": list(waits.values()), "bound": "latency", "passport": "extrapolated"}
        forecast = pd.concat([forecast, pd.DataFrame(ran)], ignore_index=True)
    each = forecast["latency_ms"].to_numpy(dtype=float) * kernels["count"].to_numpy(dtype=float)
    total = float(each.sum())
    low, high = total - float(np.hypot(busy - low, more[0])), total + float(np.hypot(high - busy, more[1]))
    return {
        "device": device.name,
        "predictor": predictor.name,
        **{name: value for name, value in graph.about.items() if name != "parameters"},
        "latency_ms": total,
        "low_ms": None if np.isnan(low) else low,
        "high_ms": None if np.isnan(high) else high,
        "phases_ms": _sums(kernels.assign(latency_ms=each), ["phase"]),
        "waits_ms": waits,
        "memory": memory_bytes(graph) | {"device_bytes": device.memory_bytes},
        **described(kernels, forecast),
        "kernels": int(times.sum()),
    }


def _waits_ms(
    graph: KernelGraph, kernels: pd.DataFrame, latency_ms: np.ndarray, predictor: Predictor, host: str
) -> tuple[dict[str, float], tuple[float, float]]:
    """Milliseconds the GPU waits for its host in each pass, and how much less and more with another host.

    Nothing where the predictor does not forecast hosts, or a compiler fused the kernels: not issued one by one.
    """
    if not isinstance(predictor, HostAware) or graph.about.get("fused"):
        return {}, (0.0, 0.0)
    place: dict[tuple[Any, ...], int] = {}
    for index, row in enumerate(kernels[list(Kernel._fields)].itertuples(index=False, name=None)):
        place.setdefault(row, index)
    order = np.array([place[tuple(kernel)] for kernel, _ in graph.launches()], dtype=int)
    phases, ops = kernels["phase"].to_numpy()[order], kernels["op"].to_numpy()
    waits: list[dict[str, float]] = []
    for share, factor in HOST_CLASSES[host]:
        waits.append({})
        for name, members in PASSES.items():
            mine = order[np.isin(phases, members)]
            waits[-1][name] = wait_ms(factor * predictor.issue_ms(ops, name, share)[mine], latency_ms[mine])
    middle, low, high = (sum(passes.values()) for passes in waits)
    return {name: wait for name, wait in waits[0].items() if wait > 0}, (middle - low, high - middle)


def _sums(table: pd.DataFrame, keys: list[str]) -> dict[str, float]:
    sums = table.groupby(keys[0])["latency_ms"].sum().sort_values(ascending=False)
    return {str(name): float(value) for name, value in sums.items()}


def _shares(table: pd.DataFrame, key: str, total: float) -> dict[str, float]:
    return {name: value / total if total else 0.0 for name, value in _sums(table, [key]).items()}


def _top(table: pd.DataFrame, total: float) -> list[dict[str, Any]]:
    keys = ["family", "op", "phase", "b", "m", "n", "k", "bound"]
    sums = table.groupby(keys, sort=False, as_index=False)[["latency_ms", "count"]].sum()
    largest = sums.sort_values("latency_ms", ascending=False, kind="stable").head(TOP)
    largest = largest.assign(share=largest["latency_ms"] / total if total else 0.0)
    return [{str(name): value for name, value in row.items()} for row in largest.to_dict("records")]


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
