"""Serving forecasts against measured serving points, and their errors by model, GPU and framework."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from tilecast.artifact.aiconfigurator_tables import GENERATIONS, Archive
from tilecast.base.documents import parse_json
from tilecast.base.statistics import absolute_error_percent, error_percent
from tilecast.evaluate.statistics import error_summary, joined
from tilecast.hardware.device import Device
from tilecast.hardware.system import load_system
from tilecast.models.architecture import Architecture, architecture
from tilecast.models.registry import model_spec
from tilecast.predict.half_precision import HalfPrecision
from tilecast.serving.campaigns import formats_of, recipe
from tilecast.serving.deployment import Deployment, Desk, Pool
from tilecast.tables.declared.half_precision import (
    ANCHOR,
    SERVING,
    SERVING_ABLATION,
    SERVING_ERRORS,
)
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


# What was put into the replay after looks at serving errors, and the server without it.
PRESENT = "nothing"
MECHANISMS: dict[str, Callable[[Deployment], Deployment]] = {
    PRESENT: lambda one: one,
    "a client's third pass until its next request": lambda one: _batching(one, late=min(one.batching.late, 2)),
    "SGLang's prompts first": lambda one: _batching(one, alone=False),
    "prompts that TensorRT-LLM holds back": lambda one: _batching(one, wait_passes=0),
    "memory that limits requests": lambda one: replace(one, limited=False),
}


def _batching(one: Deployment, **changes: Any) -> Deployment:
    return replace(one, batching=replace(one.batching, **changes))


def point_forecasts(
    points: pd.DataFrame,
    archive: Archive,
    model: HalfPrecision,
    every: Mapping[str, Device],
    left_out: bool,
    without: Collection[str] = (PRESENT,),
) -> dict[str, pd.DataFrame]:
    """Forecasts of the points whose model and layout are known here, each GPU's generation left out or kept in.

    A table for each mechanism that servers are `without`; servers that are then equal are asked once.
    """
    shapes = {name: shape_of(archive, name) for name in points["model"].unique()}
    tables: dict[str, list[dict[str, Any]]] = {words: [] for words in without}
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
            one = Deployment(shape, every[device], system, batching, formats_of(point), pool)
            # Room for twice all requests limits none: a server with it is one that memory does not limit.
            held = 2 * load.concurrency * one.cache_bytes(load.prompt.longest + load.output.longest, pool)
            one = replace(one, limited=not shape.experts and float(held) > one.room_bytes(pool))
            about = {key: point[key] for key in STATED}
            about |= {"kind": "mixture" if shape.experts else "dense", "left_out": left_out}
            about |= dict(zip(MEASURED, (point[key] for key in LATENCIES), strict=True))
            servers: dict[Deployment, list[str]] = defaultdict(list)
            for words in without:
                servers[MECHANISMS[words](one)].append(words)
            desk.ask(one, load, servers)
            asked += [(about, views) for views in servers.values()]
        for (about, views), served in zip(asked, desk.answers(), strict=True):
            found = {"ttft_ms": served.mean(served.ttft_ms), "tpot_ms": served.mean(served.tpot_ms)}
            found |= {"step_ms": served.decode.total_ms, "prefill_ms": served.prefill.total_ms}
            for words in views:
                tables[words].append(about | found | {"collectives_ms": served.decode.collectives})
    return {words: pd.DataFrame(table, columns=list(SERVING.columns)) for words, table in tables.items()}


def serving_ablation(views: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The `serving_ablation` table: errors without each mechanism that a look at serving errors motivated."""
    rows = []
    for words, table in views.items():
        for kind, part in table.groupby("kind", sort=True):
            row: dict[str, Any] = {"without": words, "kind": kind, "n": len(part)}
            for what in ("tpot", "ttft"):
                found = error_summary(error_percent(part[f"{what}_ms"], part[f"measured_{what}_ms"]))
                row |= {
                    f"{what}_median_percent": found["median_percent"],
                    f"{what}_percent": found["mape_percent"],
                }
            rows.append(row)
    return pd.DataFrame(rows, columns=list(SERVING_ABLATION.columns))


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
