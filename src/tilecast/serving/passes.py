"""Serving forecasts: kernels of a transformer's layers, collectives, and the benchmark replayed pass by pass.

Each point is `concurrency` requests that are always in flight on one tensor-parallel group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilecast.artifact.aiconfigurator_tables import GENERATIONS, SYSTEMS, Archive
from tilecast.base.documents import parse_json
from tilecast.hardware.device import Device
from tilecast.hardware.system import System, load_system
from tilecast.models.architecture import Architecture, architecture
from tilecast.models.registry import model_spec
from tilecast.multigpu.collectives import collective
from tilecast.predict.half_precision import DIMENSIONS, Modern
from tilecast.predict.physics.half import STREAM_SHARE, Array, chip
from tilecast.serving.replay import Load, Server, Told, recipe, replay

if TYPE_CHECKING:
    import pandas as pd

# ASSUME: besides products, attention and collectives a layer runs five memory-bound kernels: two norms, the
# rotation of queries and keys, the activation's product, a quantisation.
SMALL_KERNELS = 5
# ASSUME: the cache is kept in fp8 where the weights are in fp8 or fp4, as the recipes of these benchmarks set it.
# ASSUME: tokens over experts follow the milder of the two power laws the publisher measures.
SKEW = 1.01
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


SERVING_COLUMNS = [
    "point", "device", "model", "framework", "precision", "prompt", "output", "concurrency", "tp", "kind",
    "left_out", "ttft_ms", "tpot_ms", "measured_ttft_ms", "measured_tpot_ms", "step_ms", "prefill_ms",
    "collectives_ms",
]  # fmt: skip
OUT = {"generation left out": True, "kept in": False}
ANCHOR_COLUMNS = [
    "forecaster", "n", "tpot_median_percent", "ttft_median_percent", "tpot_ratio", "ttft_ratio",
]  # fmt: skip
ERROR_COLUMNS = [
    "left_out", "kind", "device", "framework", "n", "tpot_median_percent", "ttft_median_percent", "tpot_ratio",
    "ttft_ratio",
]  # fmt: skip


def shape_of(archive: Archive, model: str) -> Architecture | None:
    """The dimensions of a point's model, if it is one of those forecast here."""
    name = CONFIGURATIONS.get(model.rsplit("/", 1)[-1])
    if name is None:
        return None
    values = parse_json(archive.text(f"model_configs/{name}_config.json"), name)
    return architecture(model_spec(values if isinstance(values, dict) else {}, name, name))


@dataclass(frozen=True)
class Formats:
    """Number formats of one deployment: products, experts, cache."""

    gemm: str
    moe: str
    cache: str

    @classmethod
    def of(cls, point: Mapping[str, Any]) -> Formats:
        """Of a serving point; nothing stated means bf16 throughout."""
        names = {"fp8": "fp8", "fp8_block": "fp8_block", "nvfp4": "nvfp4"}
        gemm = names.get(str(point["gemm_dtype"]), "bf16")
        moe = names.get(str(point["moe_dtype"]), "bf16")
        if "gpt-oss" in str(point["model"]):  # published in mxfp4; everything but the experts in bf16
            return cls("bf16", "mxfp4", "bf16")
        return cls(gemm, moe, "bf16" if gemm == "bf16" else "fp8")


Kernel = tuple[str, str, tuple[float, ...], float]  # family, format, dimensions in order, count


def layer_kernels(
    shape: Architecture,
    formats: Formats,
    tokens: float,
    sequences: float,
    context: float,
    tp: int,
    ep: int,
    decode: bool,
) -> list[Kernel]:
    """Every product, attention call and expert layer of one forward pass on one GPU."""
    heads, kv = max(shape.heads // tp, 1), max(shape.kv_heads // tp, 1)
    width = (heads + 2 * kv) * shape.head_dim
    found: list[Kernel] = [
        ("gemm", formats.gemm, (tokens, width, shape.hidden), shape.layers),
        ("gemm", formats.gemm, (tokens, shape.hidden, heads * shape.head_dim), shape.layers),
        ("gemm", "bf16", (sequences, shape.vocab / tp, shape.hidden), 1),
    ]
    if shape.experts:
        moe_tp = max(tp // ep, 1)
        dims = (tokens, shape.hidden, shape.ffn, shape.top_k, shape.experts, moe_tp, ep, SKEW)
        found.append(("moe", formats.moe, dims, shape.layers))
        found.append(("gemm", "bf16", (tokens, shape.experts, shape.hidden), shape.layers))
    else:
        found.append(("gemm", formats.gemm, (tokens, 2 * shape.ffn / tp, shape.hidden), shape.layers))
        found.append(("gemm", formats.gemm, (tokens, shape.hidden, shape.ffn / tp), shape.layers))
    family, dtype = ("decode", formats.cache) if decode else ("prefill", "bf16")
    length = context if decode else tokens / sequences
    layers = [(0, shape.layers)] if not shape.window else [(0, shape.layers / 2), (shape.window, shape.layers / 2)]
    for window, count in layers:
        found.append((family, dtype, (sequences, length, heads, kv, shape.head_dim, window), count))
    return found


def small_ms(shape: Architecture, tokens: float, tp: int, device: Device, model: Modern) -> float:
    """The memory-bound kernels of one pass: each its bytes, and at least a launch."""
    on = chip(device, "bf16", model.laws["gemm/bf16"])
    moved = 2 * tokens * (4 * shape.hidden + 3 * shape.ffn * max(shape.top_k, 1) / tp) / SMALL_KERNELS * 2
    each = max(1e3 * moved / (on.bandwidth_bytes_per_s * STREAM_SHARE), on.launch_ms)
    return shape.layers * SMALL_KERNELS * each


def reduce_ms(shape: Architecture, tokens: float, tp: int, system: System | None) -> float:
    """Two sums over the group a layer."""
    if tp == 1 or system is None:
        return 0.0
    return (
        2 * shape.layers * collective("all_reduce", system, list(range(tp)), 2 * tokens * shape.hidden).latency_ms
    )


@dataclass(frozen=True)
class Pass:
    """A forward pass: milliseconds of kernels by family, of small kernels, of collectives."""

    families: Mapping[str, float]
    small: float
    collectives: float

    @property
    def total_ms(self) -> float:
        """All of it."""
        return sum(self.families.values()) + self.small + self.collectives


class Caster:
    """Passes on one GPU, their kernels forecast together."""

    def __init__(self, model: Modern, device: Device, system: System | None, without: Collection[str]) -> None:
        self.model, self.device, self.system, self.without = model, device, system, without
        self._kernels: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
        self._uses: list[tuple[int, str, str, int, float]] = []  # pass, family, format, place, count
        self._rest: list[tuple[float, float]] = []

    def add(
        self,
        shape: Architecture,
        formats: Formats,
        tokens: float,
        sequences: float,
        context: float,
        tp: int,
        ep: int,
        decode: bool,
    ) -> int:
        """Remember one pass; its number."""
        number = len(self._rest)
        for family, dtype, dims, count in layer_kernels(
            shape, formats, tokens, sequences, context, tp, ep, decode
        ):
            known = self._kernels[family, dtype]
            self._uses.append((number, family, dtype, len(known), count))
            known.append(dims)
        rest = small_ms(shape, tokens, tp, self.device, self.model), reduce_ms(shape, tokens, tp, self.system)
        self._rest.append(rest)
        return number

    def passes(self) -> list[Pass]:
        """Forecast all that was added."""
        latency: dict[tuple[str, str], Array] = {}
        for (family, dtype), dims in self._kernels.items():
            columns = dict(zip(DIMENSIONS[family], np.array(dims, dtype=float).T, strict=True))
            forecast = self.model.forecast(family, dtype, columns, self.device, self.without)
            latency[family, dtype] = forecast["latency_ms"]
        sums: list[dict[str, float]] = [defaultdict(float) for _ in self._rest]
        for number, family, dtype, place, count in self._uses:
            sums[number][family] += count * float(latency[family, dtype][place])
        return [Pass(dict(parts), small, sent) for parts, (small, sent) in zip(sums, self._rest, strict=True)]


class Passes(NamedTuple):
    """The passes a point's replay is made of, all at mean lengths."""

    step: Pass  # all requests decode
    single: Pass  # one does
    short: Pass  # a quarter of a prompt
    prefill: Pass  # one prompt
    full: Pass  # as many prompts as the budget holds, at most all
    prompts: int  # so many

    def replayed(self, load: Load, server: Server) -> Told:
        """Times to first token and per output token; between these passes time is linear in tokens."""
        one, many = load.mean * load.prompt, self.prompts * load.mean * load.prompt
        short, prefill, full = self.short.total_ms, self.prefill.total_ms, self.full.total_ms
        single, cache = self.single.total_ms, self.step.families["decode"] / load.concurrency
        more = (self.step.total_ms - single) / max(load.concurrency - 1, 1)
        first = (prefill - short) / (0.75 * one)
        second = (full - prefill) / (many - one) if self.prompts > 1 else first
        beyond = full / many if self.prompts > 1 else first

        def mixed_ms(prompt: float, requests: int) -> float:
            every = prompt + requests
            if every <= one:
                return max(short, prefill - first * (one - every)) + cache * requests
            if every <= many:
                return prefill + second * (every - one) + cache * requests
            return full + beyond * (every - many) + cache * requests

        return replay(load, server, lambda n: single + more * (n - 1), mixed_ms)


def serving(
    points: pd.DataFrame, archive: Archive, model: Modern, every: Mapping[str, Device], left_out: bool
) -> pd.DataFrame:
    """Forecasts of the points that can be composed here, each GPU's generation left out or kept in."""
    import pandas as pd

    shapes = {name: shape_of(archive, name) for name in points["model"].unique()}
    table = []
    for name, rows in points.groupby("device", sort=True):
        device = str(name)
        without = (GENERATIONS[device],) if left_out else ()
        if device not in SYSTEM_FILES:
            continue
        system = load_system(SYSTEM_FILES[device])
        caster = Caster(model, every[device], system, without)
        jobs = []
        for row in rows.to_dict("records"):
            point = {str(key): value for key, value in row.items()}
            shape, tp = shapes[point["model"]], int(point["tp"])
            dp = 0 if pd.isna(point["attention_dp"]) else int(point["attention_dp"])
            if shape is None or tp > system.gpus_per_node or dp > 1 or pd.isna(point["concurrency"]):
                continue
            formats, many = Formats.of(point), float(point["concurrency"])
            ep = max(int(point["moe_ep"]), 1) if shape.experts and not pd.isna(point["moe_ep"]) else 1
            ep = min(ep, tp)
            load, server = recipe(point)
            prompt, output = load.mean * load.prompt, load.mean * load.output
            prompts = int(min(max(server.budget // prompt, 1), many))
            numbers = [caster.add(shape, formats, n, n, prompt + output / 2, tp, ep, True) for n in (many, 1)] + [
                caster.add(shape, formats, n * length, n, length, tp, ep, False)
                for n, length in ((1, prompt / 4), (1, prompt), (prompts, prompt))
            ]
            jobs.append((point, bool(shape.experts), load, server, numbers, prompts))
        every_pass = caster.passes() if jobs else []
        for point, mixture, load, server, numbers, prompts in jobs:
            step, single, short, one, full = (every_pass[number] for number in numbers)
            passes = Passes(step, single, short, one, full, prompts)
            ttft, tpot = passes.replayed(load, server)
            table.append(
                {
                    **{key: point[key] for key in ("point", "device", "model", "framework", "precision")},
                    **{key: point[key] for key in ("prompt", "output", "concurrency", "tp")},
                    "kind": "mixture" if mixture else "dense",
                    "left_out": left_out,
                    "ttft_ms": ttft,
                    "tpot_ms": tpot,
                    "measured_ttft_ms": point["ttft_ms"],
                    "measured_tpot_ms": point["tpot_ms"],
                    "step_ms": passes.step.total_ms,
                    "prefill_ms": passes.prefill.total_ms,
                    "collectives_ms": passes.step.collectives,
                }
            )
    return pd.DataFrame(table, columns=SERVING_COLUMNS)


def publisher_points(points: pd.DataFrame, archive: Archive) -> pd.DataFrame:
    """The dense points as the publisher's own system is asked about them, in its names."""
    folders = {device: folder for folder, device in SYSTEMS.items()}
    shapes = {name: shape_of(archive, name) for name in points["model"].unique()}
    known = points[[(shape := shapes[name]) is not None and not shape.experts for name in points["model"]]]
    names = [CONFIGURATIONS[name.rsplit("/", 1)[-1]].replace("--", "/") for name in known["model"]]
    return known.assign(system=known["device"].map(folders), asked_model=names, experts=0)


def anchor_errors(table: pd.DataFrame, publisher: pd.DataFrame) -> pd.DataFrame:
    """Errors on the points that the publisher's own system answered: its own, and ours on the very same points."""
    import pandas as pd

    answered = publisher.dropna(subset=["ttft_ms", "tpot_ms"]).set_index("point")
    same = table[table["point"].isin(answered.index)]
    theirs = same[same["left_out"].astype(bool)].copy()
    for name in ("ttft_ms", "tpot_ms"):
        theirs[name] = answered.loc[theirs["point"], name].to_numpy()
    parts = {"publisher": theirs}
    parts |= {f"tilecast, {name}": same[same["left_out"].astype(bool) == out] for name, out in OUT.items()}
    rows = []
    for name, part in parts.items():
        row: dict[str, Any] = {"forecaster": name, "n": len(part)}
        for what in ("tpot", "ttft"):
            ratio = part[f"{what}_ms"] / part[f"measured_{what}_ms"]
            row |= {f"{what}_median_percent": 100 * (ratio - 1).abs().median(), f"{what}_ratio": ratio.median()}
        rows.append(row)
    return pd.DataFrame(rows if len(same) else [], columns=ANCHOR_COLUMNS)


def serving_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Median and mean absolute percentage errors by kind of model, GPU and framework, and of all."""
    import pandas as pd

    if table.empty:
        return pd.DataFrame(columns=ERROR_COLUMNS)
    errors = table.assign(
        tpot=100 * (table["tpot_ms"] / table["measured_tpot_ms"] - 1).abs(),
        ttft=100 * (table["ttft_ms"] / table["measured_ttft_ms"] - 1).abs(),
        tpot_ratio=table["tpot_ms"] / table["measured_tpot_ms"],
        ttft_ratio=table["ttft_ms"] / table["measured_ttft_ms"],
    )
    parts = []
    for keys in (["device", "framework"], ["device"], ["framework"], []):
        found = errors.groupby(["left_out", "kind", *keys], sort=True).agg(
            n=("tpot", "size"),
            tpot_median_percent=("tpot", "median"),
            ttft_median_percent=("ttft", "median"),
            tpot_ratio=("tpot_ratio", "median"),
            ttft_ratio=("ttft_ratio", "median"),
        )
        found = found.reset_index()
        for key in ("device", "framework"):
            if key not in keys:
                found[key] = "all"
        parts.append(found)
    return pd.concat(parts, ignore_index=True)[ERROR_COLUMNS]
