"""Forward passes of a served transformer: its kernels and collectives, and the replay of a benchmark made of them.

Each point is `concurrency` requests that are always in flight on one tensor-parallel group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.architecture import Architecture
from tilecast.multigpu.collectives import collective
from tilecast.predict.half_precision import DIMENSIONS, HalfPrecision
from tilecast.predict.physics.chip import chip
from tilecast.predict.physics.half import STREAM_SHARE
from tilecast.serving.replay import Batching, Load, MeanTimes, replay

# ASSUME: besides products, attention and collectives a layer runs five memory-bound kernels: two norms, the
# rotation of queries and keys, the activation's product, a quantisation.
SMALL_KERNELS = 5
# ASSUME: the cache is kept in fp8 where the weights are in fp8 or fp4, as the recipes of these benchmarks set it.
# ASSUME: tokens over experts follow the milder of the two power laws the publisher measures.
SKEW = 1.01


class Formats(NamedTuple):
    """Number formats of one deployment: products, experts, cache."""

    gemm: str
    moe: str
    cache: str

    @classmethod
    def of(cls, point: Mapping[str, Any]) -> Formats:
        """Of a serving point; nothing stated means bf16 throughout."""
        stated = (str(point[name]) for name in ("gemm_dtype", "moe_dtype"))
        gemm, moe = (name if name in ("fp8", "fp8_block", "nvfp4") else "bf16" for name in stated)
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


def small_ms(shape: Architecture, tokens: float, tp: int, device: Device) -> float:
    """Milliseconds of a pass's memory-bound kernels: bytes over bandwidth for each, at least one launch."""
    on = chip(device, "bf16")
    moved = 2 * tokens * (4 * shape.hidden + 3 * shape.ffn * max(shape.top_k, 1) / tp) / SMALL_KERNELS * 2
    each = max(1e3 * moved / (on.bandwidth_bytes_per_s * STREAM_SHARE), on.launch_ms)
    return shape.layers * SMALL_KERNELS * each


def reduce_ms(shape: Architecture, tokens: float, tp: int, system: System | None) -> float:
    """Milliseconds of the two all-reduces of every layer."""
    if tp == 1 or system is None:
        return 0.0
    forecast = collective("all_reduce", system, range(tp), 2 * tokens * shape.hidden)
    return 2 * shape.layers * forecast.latency_ms


class Pass(NamedTuple):
    """A forward pass: milliseconds of kernels by family, of small kernels, of collectives."""

    families: Mapping[str, float]
    small: float
    collectives: float

    @property
    def total_ms(self) -> float:
        """Milliseconds of the whole pass."""
        return sum(self.families.values()) + self.small + self.collectives


class PassForecasts:
    """Passes on one GPU, their kernels forecast together."""

    def __init__(
        self, model: HalfPrecision, device: Device, system: System | None, without: Collection[str]
    ) -> None:
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
        kernels = layer_kernels(shape, formats, tokens, sequences, context, tp, ep, decode)
        for family, dtype, dims, count in kernels:
            known = self._kernels[family, dtype]
            self._uses.append((number, family, dtype, len(known), count))
            known.append(dims)
        rest = small_ms(shape, tokens, tp, self.device), reduce_ms(shape, tokens, tp, self.system)
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

    def replayed(self, load: Load, batching: Batching) -> MeanTimes:
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

        return replay(load, batching, lambda n: single + more * (n - 1), mixed_ms)
