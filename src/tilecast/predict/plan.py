"""Forecasts written down before anything is measured, and the order of kernels to measure: least certain first.

A forecast is uncertain where predictors of the same device disagree and where their own intervals are wide.
Kernels of one family, number format and amount of work tell much the same, so the most uncertain one of each such
kind comes first, then the second of each, and so on, by uncertainty per second of measuring. Families and formats
take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.hardware.device import Device
from tilecast.measure.describe import DESCRIPTION, device_of, write_description
from tilecast.measure.grid import grid, with_work
from tilecast.measure.store import PLANS, done, runs
from tilecast.predict.kernel import Predictor
from tilecast.predict.model import forecast_model
from tilecast.predict.registry import load_predictor
from tilecast.tables.declared.measured import PLANNED_KERNELS, PLANNED_MODELS, WORKLOAD_KEY
from tilecast.tables.io import read, write

COMMITTEE = ("tilecast", "neusight", "habitat", "roofline")
OVERHEAD_S, REPEATED = 0.2, 20  # what measuring a kernel costs: making its inputs, and about so many runs
KEPT = ("tilecast", "roofline")  # whose forecasts are written down, to be held against the measurement


def plan_kernels(kernels: pd.DataFrame, device: Device, committee: Sequence[Predictor]) -> pd.DataFrame:
    """The `planned_kernels` table: every kernel forecast by each predictor of KEPT, ranked least sure first."""
    work = with_work(kernels)
    forecasts = {predictor.name: predictor.predict(work, device) for predictor in committee}
    rank = order(work, forecasts)
    ends = {"predicted_ms": "latency_ms", "predicted_low_ms": "low_ms", "predicted_high_ms": "high_ms"}
    parts = [
        kernels.assign(rank=rank, predictor=name).assign(
            **{column: forecasts[name][end].to_numpy(dtype=float) for column, end in ends.items()}
        )
        for name in KEPT
        if name in forecasts
    ]
    columns = list(PLANNED_KERNELS.columns)
    return pd.concat(parts, ignore_index=True).sort_values(["rank", "predictor"], kind="stable")[columns]


def order(work: pd.DataFrame, forecasts: dict[str, pd.DataFrame]) -> np.ndarray:
    """The rank of each kernel in the order of measuring."""
    logs = np.log(np.stack([found["latency_ms"].to_numpy(dtype=float) for found in forecasts.values()]))
    widths = [np.log(found["high_ms"].to_numpy(dtype=float)) - log for found, log in zip(forecasts.values(), logs)]
    doubt = np.hypot(logs.std(axis=0), np.nanmax([np.zeros(logs.shape[1]), *widths], axis=0))
    octave = np.log2(np.maximum(work["flops"], work["bytes_read"] + work["bytes_written"])) // 2
    kind = pd.DataFrame({"family": work["family"], "dtype": work["dtype"], "octave": octave, "doubt": doubt})
    kind["turn"] = kind.groupby(["family", "dtype", "octave"])["doubt"].rank(method="first", ascending=False)
    kind["worth"] = doubt / (OVERHEAD_S + REPEATED * np.exp(np.median(logs, axis=0)) / 1e3)
    kind = kind.sort_values(["turn", "worth"], ascending=[True, False], kind="stable")
    kind["round"] = kind.groupby(["family", "dtype"]).cumcount()
    places = kind.sort_values(["round", "worth"], ascending=[True, False], kind="stable").index
    rank = np.empty(len(kind), dtype=int)
    rank[places.to_numpy()] = np.arange(len(kind))
    return rank


def plan_models(
    workloads: Iterable[dict[str, Any]], device: Device, predictors: Sequence[Predictor]
) -> pd.DataFrame:
    """The `planned_models` table: each workload traced and forecast; compiled ones with their kernels fused."""
    from tilecast.graph.fuse import fuse
    from tilecast.graph.source import kernel_graph

    rows = []
    for work in workloads:
        graph = kernel_graph(
            work["model"],
            mode=work["mode"],
            phase="decode" if work["phase"] == "decode" else "prefill",
            sequence_length=work["sequence_length"],
            batch_size=work["batch_size"],
            context=work["context"],
            dtype=work["dtype"],
            attention=work["attention"],
        )
        graph = fuse(graph) if work["execution"] == "compiled" else graph
        for predictor in predictors:
            found = forecast_model(graph, predictor, device)
            rows.append(
                {name: work[name] for name in WORKLOAD_KEY}
                | {
                    "predictor": predictor.name,
                    "predicted_ms": found["latency_ms"],
                    "predicted_low_ms": found["low_ms"],
                    "predicted_high_ms": found["high_ms"],
                }
            )
    return pd.DataFrame(rows, columns=list(PLANNED_MODELS.columns))


def write_kernel_plan(
    folder: Path, description: Mapping[str, Any], dtypes: Sequence[str], families: Sequence[str], each: int,
    longest_s: float, quick: bool = False, renew: bool = True,
) -> Path:  # fmt: skip
    """Forecast the grid for a described device and write description and forecasts into its folder.

    No kernel is taken that the device could not finish in `longest_s` at its peak rates. Forecasts that something
    was measured after are never written over, others only to `renew` them: they are returned as they are.
    """
    path = folder / PLANS["kernels"]
    if path.exists() and (runs(folder, "kernels") or not renew):
        return path
    device = device_of(dict(description))
    kernels = grid(
        dtypes,
        families,
        limit_flops=longest_s * device.peak_flops_per_s("fp32", matrix=True),
        limit_bytes=min(longest_s * device.bandwidth_bytes_per_s, device.memory_bytes / 2),
        each=each,
    )
    names = KEPT if quick else COMMITTEE
    plan = plan_kernels(kernels, device, [load_predictor(name) for name in names])
    write_description(dict(description), folder / DESCRIPTION)
    write(plan, path, PLANNED_KERNELS)
    return path


def write_model_plan(folder: Path, description: Mapping[str, Any], works: Sequence[dict[str, Any]]) -> Path:
    """Forecast workloads for a described device, but for those forecast already.

    A workload that was measured before is not forecast any more.
    """
    path, known = folder / PLANS["models"], done(folder, "models")
    before = read(path, PLANNED_MODELS) if path.exists() else None
    if before is not None:
        known |= set(before[list(WORKLOAD_KEY)].itertuples(index=False, name=None))
    new = [work for work in works if tuple(work[name] for name in WORKLOAD_KEY) not in known]
    if not new and before is not None:
        return path
    plan = plan_models(new, device_of(dict(description)), [load_predictor(name) for name in KEPT])
    if not (folder / DESCRIPTION).exists():
        write_description(dict(description), folder / DESCRIPTION)
    write(plan if before is None else pd.concat([before, plan], ignore_index=True), path, PLANNED_MODELS)
    return path
