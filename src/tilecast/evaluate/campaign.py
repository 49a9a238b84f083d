"""What a campaign settles: the artifact's labels, measured again; named scenarios; constants that were assumed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.statistics import absolute_error_percent, error_percent
from tilecast.evaluate.machine import models
from tilecast.hardware.device import Device
from tilecast.locality.guide import PCIE4_BYTES_PER_S
from tilecast.measure.describe import DESCRIPTION, device_of, read_description
from tilecast.measure.store import load_run, runs
from tilecast.multigpu.kernels import LEAST_MS
from tilecast.predict.physics.chip import MATRIX_UNIT_SHARE, WIDE_LANES, WIDE_SHARE, chip
from tilecast.predict.physics.throttle import SHARE
from tilecast.predict.registry import load_predictor
from tilecast.predict.tilecast import STREAM_SHARE, WORK_SHARE
from tilecast.tables.declared.measured import LIVE_CONSTANTS, LIVE_LABELS, LIVE_SCENARIOS

NEAR = 0.1  # a constant is settled where it lies within what was measured, this much wider; fixed before any GPU
OPTION = {"eager": "none", "compiled": "fusion"}  # execution here -> option of the artifact's labels
PCIE4 = 3.15e10  # bytes per second of 16 lanes, of which the guide expects a share
ATTENTION = "new=2048 cached=2048"


def readings(folder: Path) -> pd.DataFrame:
    """Everything that was timed in a device's folder besides kernels and models."""
    parts = [load_run(path, "readings") for path in runs(folder, "readings")]
    found = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["stage", "outcome"])
    return found[found["outcome"] == "measured"]


def against_labels(folder: Path, labels: pd.DataFrame) -> pd.DataFrame:
    """The `live_labels` table: the artifact's label, the same by its harness's rule here, and by ours."""
    timed = models(folder, "live").drop_duplicates(["model", "mode", "sequence_length", "batch_size", "execution"])
    timed = timed[(timed["outcome"] == "measured") & (timed["dtype"] == "fp32")]
    timed = timed.assign(option=timed["execution"].map(OPTION))
    both = labels.merge(timed, on=["device", "model", "mode", "sequence_length", "batch_size", "option"])
    by_rule = readings(folder).query("stage == 'cells'")
    rows = []
    for row in both.to_dict("records"):
        name = f"{row['model']} {row['mode']} {row['phase']} {row['batch_size']}x{row['sequence_length']} "
        mine = by_rule[by_rule["item"].str.startswith(name) & by_rule["item"].str.endswith(row["execution"])]
        passes = mine.set_index("variant")["latency_ms"].to_dict()
        whole = sum(passes.values()) if len(passes) == (2 if row["mode"] == "training" else 1) else None
        rows.append(
            {name: row[name] for name in ("device", "model", "mode", "sequence_length", "batch_size", "option")}
            | {
                "label_ms": row["latency_ms"],
                "label_forward_ms": row["forward_ms"],
                "label_backward_ms": row["backward_ms"],
                "harness_ms": whole,
                "harness_forward_ms": passes.get("forward"),
                "harness_backward_ms": passes.get("backward"),
                "measured_ms": row["measured_ms"],
                "harness_percent": error_percent(row["latency_ms"], whole) if whole else None,
                "measured_percent": error_percent(row["latency_ms"], row["measured_ms"]),
            }
        )
    return pd.DataFrame(rows, columns=list(LIVE_LABELS.columns))


def against_scenarios(folder: Path, scenarios: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The `live_scenarios` table: what was measured of a named scenario's work on one GPU, and forecast before."""
    rows = []
    measured = models(folder, "live")
    measured = measured[measured["outcome"] == "measured"]
    for entry in (entry for entry in scenarios if entry["layout"].gpus == 1):
        work = entry["work"]
        phase = "step" if work.mode == "training" else work.phase
        wanted = {"model": work.spec.name, "mode": work.mode, "phase": phase, "context": work.context or 0}
        wanted |= {"sequence_length": work.sequence_length, "batch_size": work.batch_size}
        found = measured[(measured[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        for row in found.to_dict("records"):
            rows.append({"id": entry["id"]} | row)
    frame = pd.DataFrame(rows, columns=list(LIVE_SCENARIOS.columns))
    return frame.assign(ape_percent=absolute_error_percent(frame["predicted_ms"], frame["measured_ms"]))


def constants(folder: Path) -> pd.DataFrame:
    """The `live_constants` table: what this library assumes, and what this device does."""
    found = readings(folder)
    if found.empty:
        return pd.DataFrame(columns=list(LIVE_CONSTANTS.columns))
    device = device_of(read_description(folder / DESCRIPTION))
    rows = [
        {
            "device": folder.name,
            "constant": words,
            "where": where,
            "assumed": float(assumed),
            "measured": float(np.median(values)),
            "low": float(np.quantile(values, 0.05)),
            "high": float(np.quantile(values, 0.95)),
            "n": len(values),
        }
        for words, where, assumed, values in _held(device, found)
        if len(values)
    ]
    frame = pd.DataFrame(rows, columns=list(LIVE_CONSTANTS.columns))
    holds = frame["assumed"].between(frame["low"] * (1 - NEAR), frame["high"] * (1 + NEAR))
    return frame.assign(verdict=np.where(holds, "settled", "refuted"))


def _held(device: Device, found: pd.DataFrame) -> Iterable[tuple[str, str, float, np.ndarray]]:
    """Of each constant: words, the module that assumes it, its value, and what was measured for it."""

    def rate(item: str, variant: str) -> np.ndarray:
        """Work a second; of a course without rest its second half."""
        part = found[(found["item"] == item) & (found["variant"] == variant)].sort_values("place")
        part = part.iloc[len(part) // 2 :] if variant == "sustained" else part
        return (1e3 * part["amount"] / part["latency_ms"]).to_numpy(dtype=float)

    def once(stage: str, variant: str) -> dict[str, float]:
        part = found[(found["stage"] == stage) & (found["variant"] == variant)]
        return dict(zip(part["item"], part["latency_ms"] / part["amount"], strict=True))

    half = device.peak_flops_per_s("bf16", matrix=True)
    yield (
        "share of peak, long bf16 products",
        "predict/physics/chip.py",
        (chip(device, "bf16").sustained_flops_per_s / half),
        rate("product bf16", "sustained") / half,
    )
    rested, long = rate("product bf16", "rested"), rate("product bf16", "sustained")
    if device.name in SHARE and len(rested):
        yield (
            "bf16 products without a rest, of those after one",
            "predict/physics/throttle.py",
            (SHARE[device.name]),
            np.median(rested) / long,
        )
    if device.cores_per_sm == WIDE_LANES:
        peak = device.peak_flops_per_s("fp32", matrix=False)
        yield (
            "share of peak, long fp32 products: issue limit of 128 lanes",
            "predict/physics/chip.py",
            (WIDE_SHARE),
            rate("product fp32", "sustained") / peak,
        )
    if "tf32" in device.matrix_flops_per_s:
        yield (
            "share of peak, tf32 products",
            "predict/physics/chip.py",
            MATRIX_UNIT_SHARE,
            (rate("product tf32", "sustained") / device.matrix_flops_per_s["tf32"]),
        )
    yield (
        "share of bandwidth, copies",
        "predict/tilecast.py",
        STREAM_SHARE,
        (rate("copy", "rested") / device.bandwidth_bytes_per_s),
    )
    shapes = [item for item in found["item"].unique() if item.endswith(ATTENTION)]
    yield (
        "share of peak, attention in bf16",
        "predict/tilecast.py",
        WORK_SHARE,
        (np.concatenate([rate(item, "as chosen") for item in shapes] or [np.empty(0)]) / half),
    )
    graph = [latency for item, latency in once("launches", "graph").items() if item.startswith("elementwise")]
    yield "ms of a kernel with nothing to do in a CUDA graph", "multigpu/kernels.py", LEAST_MS, np.array(graph)
    predictor: Any = load_predictor("tilecast")
    for item, latency in once("launches", "host").items():
        op = item.split()[-1]
        assumed = float(predictor.issue_ms(np.array([op]), "forward")[0])
        yield f"ms to launch {op}", "predict/tilecast.py", assumed, np.array([latency])
    pcie = [link.bytes_per_s for link in device.links if link.kind.startswith("pcie")]
    for way in ("to device", "to host"):
        large = found[(found["stage"] == "copies") & found["variant"].str.startswith(f"pinned {way}")]
        large = large[large["amount"] >= 1 << 28]
        if pcie:
            yield (
                f"share of the PCIe link, pinned copies {way}",
                "locality/guide.py",
                PCIE4_BYTES_PER_S / PCIE4,
                ((1e3 * large["amount"] / large["latency_ms"]).to_numpy(dtype=float) / pcie[0]),
            )
    together = found[found["stage"] == "overlap"].pivot_table("latency_ms", "item", "variant")
    if {"both", "copy", "compute"} <= set(together.columns):
        yield (
            "a copy behind a product, of the longer of the two",
            "moe/offload.py",
            1.0,
            ((together["both"] / together[["copy", "compute"]].max(axis=1)).to_numpy(dtype=float)),
        )
