"""Serving forecasts against measured serving points, and their errors by model, GPU and framework."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tilecast.artifact.aiconfigurator_tables import GENERATIONS, Archive
from tilecast.base.arrays import Array
from tilecast.base.documents import parse_json
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.statistics import joined
from tilecast.hardware.device import Device
from tilecast.hardware.system import load_system
from tilecast.models.architecture import Architecture, architecture
from tilecast.models.registry import model_spec
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.interval import LEVEL
from tilecast.serving.campaigns import formats_of, recipe
from tilecast.serving.deployment import Deployment, Desk, Pool
from tilecast.tables.declared.half_precision import ANCHOR, SERVING, SERVING_ERRORS, SERVING_INTERVALS
from tilecast.tables.io import empty

# Configurations of the wheel, by the end of a point's model name.
CONFIGURATIONS = {
    "Llama-3.1-8B-Instruct": "meta-llama--Meta-Llama-3.1-8B",
    "Llama-3.1-8B-Instruct-FP8": "meta-llama--Meta-Llama-3.1-8B",
    "Llama-3.1-70B": "meta-llama--Meta-Llama-3.1-70B",
    "Qwen3-32B": "Qwen--Qwen3-32B",
    "Qwen3-32B-NVFP4": "Qwen--Qwen3-32B",
    "gpt-oss-120b": "openai--gpt-oss-120b",
    "Qwen3-235B-A22B-FP8": "Qwen--Qwen3-235B-A22B",
}
SYSTEM_FILES = {
    "NVIDIA_H100_80GB_HBM3": "h100_sxm",
    "NVIDIA_H200": "h200_sxm",
    "NVIDIA_B200": "b200_sxm",
    "NVIDIA_GB200": "gb200",
}
STATED = ("point", "device", "model", "framework", "precision", "prompt", "output", "concurrency", "tp")
LATENCIES = ("ttft_ms", "tpot_ms")
MEASURED = [f"measured_{name}" for name in LATENCIES]


def shape_of(archive: Archive, model: str) -> Architecture | None:
    """The dimensions of a point's model, if it is one of those forecast here."""
    name = CONFIGURATIONS.get(model.rsplit("/", 1)[-1])
    if name is None:
        return None
    values = parse_json(archive.text(f"model_configs/{name}_config.json"), name)
    return architecture(model_spec(values if isinstance(values, dict) else {}, name, name))


def point_forecasts(
    points: pd.DataFrame, archive: Archive, model: HalfPrecision, every: Mapping[str, Device], left_out: bool
) -> pd.DataFrame:
    """Forecasts of the points whose model and layout are known here, each GPU's generation left out or kept in."""
    shapes = {name: shape_of(archive, name) for name in points["model"].unique()}
    table = []
    for name, rows in points.groupby("device", sort=True):
        device = str(name)
        if device not in SYSTEM_FILES:
            continue
        system = load_system(SYSTEM_FILES[device])
        desk = Desk(model, every[device], system, (GENERATIONS[device],) if left_out else ())
        asked = []
        for row in rows.to_dict("records"):
            point = {str(key): value for key, value in row.items()}
            shape, tp = shapes[point["model"]], int(point["tp"])
            dp = 0 if pd.isna(point["attention_dp"]) else int(point["attention_dp"])
            if shape is None or tp > system.gpus_per_node or dp > 1 or pd.isna(point["concurrency"]):
                continue
            ep = int(point["moe_ep"]) if shape.experts and not pd.isna(point["moe_ep"]) else 1
            load, batching = recipe(point)
            pool = Pool(tp, ep=min(max(ep, 1), tp))
            desk.ask(
                Deployment(
                    shape, every[device], system, batching, formats_of(point), pool, limited=not shape.experts
                ),
                load,
            )
            about = {key: point[key] for key in STATED}
            about |= {"kind": "mixture" if shape.experts else "dense", "left_out": left_out}
            asked.append(about | dict(zip(MEASURED, (point[key] for key in LATENCIES), strict=True)))
        for about, served in zip(asked, desk.answers(), strict=True):
            found = {"ttft_ms": served.mean(served.ttft_ms), "tpot_ms": served.mean(served.tpot_ms)}
            found |= {"step_ms": served.decode.total_ms, "prefill_ms": served.prefill.total_ms}
            table.append(about | found | {"collectives_ms": served.decode.collectives})
    return pd.DataFrame(table, columns=list(SERVING.columns))


def anchor_errors(table: pd.DataFrame, publisher: pd.DataFrame) -> pd.DataFrame:
    """Errors on the points that the publisher's own system answered: its own, and ours on the very same points."""
    answered = publisher.dropna(subset=[*LATENCIES]).set_index("point")
    same = table[table["point"].isin(answered.index)]
    if same.empty:
        return empty(ANCHOR)
    theirs = same[same["left_out"].astype(bool)].copy()
    for name in LATENCIES:
        theirs[name] = answered.loc[theirs["point"], name].to_numpy()
    parts = [theirs.assign(forecaster="publisher")]
    for words, out in (("generation left out", True), ("kept in", False)):
        parts.append(same[same["left_out"].astype(bool) == out].assign(forecaster=f"tilecast, {words}"))
    return _medians(pd.concat(parts), ["forecaster"])[list(ANCHOR.columns)]


def serving_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Median errors and ratios by kind of model, GPU and framework, and over all GPUs and frameworks."""
    if table.empty:
        return empty(SERVING_ERRORS)
    together = [["framework"], ["device"], ["device", "framework"]]
    return _medians(table, ["left_out", "kind", "device", "framework"], together)[list(SERVING_ERRORS.columns)]


def serving_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """80 % intervals of serving times: measured over forecast, with the GPU's generation left out.

    Points of one model on one GPU err alike, so each such group has the same weight. The tails beyond the ends are
    the widest that still leave 80 % of the points within the interval made of all other groups.
    """
    found = []
    for kind, rows in table[table["left_out"].astype(bool)].groupby("kind", sort=True):
        group = rows["model"] + rows["device"]
        if group.nunique() < 2:
            continue
        for what in ("ttft", "tpot"):
            ratio = (rows[f"measured_{what}_ms"] / rows[f"{what}_ms"]).to_numpy()
            for percent in range(20, 0, -1):
                held = _held(ratio, group.to_numpy(), percent / 100)
                if held >= LEVEL:
                    break
            low, high = _ends(ratio, group.to_numpy(), percent / 100)
            words = {"kind": kind, "what": what, "n": len(rows), "groups": group.nunique()}
            ends = {"tail_percent": percent, "low_ratio": low, "high_ratio": high, "held_percent": 100 * held}
            found.append(words | ends)
    return pd.DataFrame(found, columns=list(SERVING_INTERVALS.columns)) if found else empty(SERVING_INTERVALS)


def _ends(ratio: Array, group: Array, tail: float) -> tuple[float, float]:
    """The `tail` and 1 - `tail` quantiles, every group weighing alike."""
    _, index, size = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(ratio)
    reached = np.cumsum(1 / size[index][order]) / len(size)
    places = np.searchsorted(reached, (tail, 1 - tail - 1e-12))
    low, high = ratio[order][np.minimum(places, len(ratio) - 1)]
    return float(low), float(high)


def _held(ratio: Array, group: Array, tail: float) -> float:
    """Share of points within the interval made of all other groups."""
    within = 0
    for one in np.unique(group):
        mine = group == one
        low, high = _ends(ratio[~mine], group[~mine], tail)
        within += int(((ratio[mine] >= low) & (ratio[mine] <= high)).sum())
    return within / len(ratio)


def _medians(table: pd.DataFrame, by: list[str], together: list[list[str]] | None = None) -> pd.DataFrame:
    """Count, median absolute errors and median ratios of both latencies, for every group."""
    found = {}
    for what in ("tpot", "ttft"):
        found[what] = absolute_error_percent(table[f"{what}_ms"], table[f"measured_{what}_ms"])
        found[f"{what}_ratio"] = table[f"{what}_ms"] / table[f"measured_{what}_ms"]
    return joined(
        table.assign(**found),
        by,
        together or [],
        n=("tpot", "size"),
        tpot_median_percent=("tpot", "median"),
        ttft_median_percent=("ttft", "median"),
        tpot_ratio=("tpot_ratio", "median"),
        ttft_ratio=("ttft_ratio", "median"),
    )
