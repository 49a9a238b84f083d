"""Forward passes of a served transformer: the kernels and collectives of each, and its time."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.architecture import Architecture
from tilecast.multigpu.collectives import collective
from tilecast.predict.formats import alone, experts, scaled_ms
from tilecast.predict.half_precision import DIMENSIONS, HalfPrecision
from tilecast.predict.physics.chip import chip
from tilecast.predict.physics.half import STREAM_SHARE
from tilecast.serving.replay import PassTimes

# ASSUME: besides products, attention and collectives a layer runs five memory-bound kernels: two norms, the
# rotation of queries and keys, the activation's product, a quantisation.
SMALL_KERNELS = 5
# ASSUME: tokens over experts follow the milder of the two power laws the publisher measures.
SKEW = 1.01


class Formats(NamedTuple):
    """Number formats of one deployment: products, experts, cache, and of products' weights alone."""

    gemm: str
    moe: str
    cache: str
    weights: str = ""


BF16 = Formats("bf16", "bf16", "bf16")


class Work(NamedTuple):
    """What one pass computes."""

    decode: bool
    sequences: float
    tokens: float  # of all sequences
    context: float = 0.0  # tokens each sequence finds in the cache


Kernel = tuple[str, str, tuple[float, ...], float]  # family, format, dimensions in order, count


def layer_kernels(shape: Architecture, formats: Formats, work: Work, tp: int, ep: int) -> list[Kernel]:
    """Every product, attention call and expert layer of one forward pass on one GPU; counts below 0 take away."""
    if formats.weights:
        formats = formats._replace(gemm=f"{formats.gemm}/{formats.weights}")
    heads, kv = max(shape.heads // tp, 1), max(shape.kv_heads // tp, 1)
    width, tokens = (heads + 2 * kv) * shape.head_dim, work.tokens
    found: list[Kernel] = [
        ("gemm", formats.gemm, (tokens, width, shape.hidden), shape.layers),
        ("gemm", formats.gemm, (tokens, shape.hidden, heads * shape.head_dim), shape.layers),
    ]
    found = _latent(shape, formats, work, heads) if shape.latent else found
    if shape.joins:
        found.append(("gemm", "bf16", (tokens, shape.hidden, 2 * shape.hidden), 1))
    head = (tokens if work.decode else work.sequences, shape.vocab / tp, shape.hidden)
    found.append(("gemm", "bf16", head, 1))
    if shape.experts:
        moe_tp = max(tp // ep, 1)
        dims = (tokens, shape.hidden, shape.ffn, shape.top_k, shape.experts, moe_tp, ep, SKEW)
        found.append(("moe", formats.moe, dims, shape.expert_layers))
        found.append(("gemm", "bf16", (tokens, shape.experts, shape.hidden), shape.expert_layers))
    for ffn, layers in _dense(shape):
        wide = (2 if shape.gated else 1) * ffn / tp
        found.append(("gemm", formats.gemm, (tokens, wide, shape.hidden), layers))
        found.append(("gemm", formats.gemm, (tokens, shape.hidden, ffn / tp), layers))
    if shape.latent:
        return found
    if work.decode:
        calls = [("decode", formats.cache, work.context, 1)]
    else:
        # Of a prompt whose beginning is cached the rest alone is computed: all attention but the beginning's own.
        calls = [("prefill", "bf16", work.context + tokens / work.sequences, 1)]
        calls += [("prefill", "bf16", work.context, -1)] if work.context else []
    near = shape.windowed * shape.layers if shape.window else 0
    spans = [(window, count) for window, count in ((0, shape.layers - near), (shape.window, near)) if count]
    for family, dtype, length, sign in calls:
        for window, count in spans:
            call = (work.sequences, length, heads, kv, shape.head_dim, window)
            found.append((family, dtype, call, sign * count))
    return found


def _latent(shape: Architecture, formats: Formats, work: Work, heads: int) -> list[Kernel]:
    """Latent attention: projections, and a prompt's keys and values written out or a step on the cache of latents.

    Projections of the hidden state run as one; in a step, the up-projections of keys and values act on queries and
    outputs: of each head a product as large as its weights (DeepSeek-V2, arXiv 2405.04434).
    """
    rank, key, value = shape.latent - shape.turned_dim, shape.plain_dim + shape.turned_dim, shape.value_dim
    down = shape.latent + (shape.query_latent or heads * key)
    products = [(work.tokens, down, shape.hidden), (work.tokens, shape.hidden, heads * value)]
    if shape.query_latent:
        products.append((work.tokens, heads * key, shape.query_latent))
    if work.decode:
        absorbed = [(work.tokens, rank, heads * shape.plain_dim), (work.tokens, heads * value, rank)]
        call = (work.sequences, work.context, heads, shape.latent, rank)
        found: list[Kernel] = [("gemm", "bf16", dims, 1) for dims in absorbed]
        found.append(("latent_decode", formats.cache, call, 1))
    else:
        held = work.context * work.sequences
        products.append((work.tokens + held, heads * (shape.plain_dim + value), rank))
        lengths = [(work.context + work.tokens / work.sequences, 1), (work.context, -1)]
        found = [
            ("latent_prefill", "bf16", (work.sequences, length, heads, key, value), sign)
            for length, sign in lengths
            if length
        ]
    found += [("gemm", formats.gemm, dims, 1) for dims in products]
    return [(family, dtype, dims, sign * shape.layers) for family, dtype, dims, sign in found]


def _dense(shape: Architecture) -> list[tuple[int, int]]:
    """Widths of the feed-forward layers that every token passes, each with how many layers have it."""
    if not shape.experts:
        return [(shape.ffn, shape.layers)]
    found = [(shape.shared_ffn, shape.expert_layers), (shape.dense_ffn, shape.layers - shape.expert_layers)]
    return [(width, layers) for width, layers in found if width and layers]


def small_ms(shape: Architecture, tokens: float, tp: int, device: Device) -> float:
    """Milliseconds of a pass's memory-bound kernels: bytes over bandwidth for each, at least one launch."""
    on = chip(device, "bf16")
    moved = 2 * tokens * (4 * shape.hidden + 3 * shape.ffn * max(shape.top_k, 1) / tp) / SMALL_KERNELS * 2
    each = max(1e3 * moved / (on.bandwidth_bytes_per_s * STREAM_SHARE), on.launch_ms)
    return shape.layers * SMALL_KERNELS * each


def sent_ms(shape: Architecture, tokens: float, tp: int, pp: int, system: System | None) -> float:
    """Milliseconds of the two all-reduces of every layer, and of passing activations between stages."""
    if system is None:
        return 0.0
    size, spent = 2 * tokens * shape.hidden, 0.0
    if tp > 1:
        spent += 2 * shape.layers * collective("all_reduce", system, range(tp), size).latency_ms
    for stage in range(1, pp):
        spent += collective("send_recv", system, ((stage - 1) * tp, stage * tp), size).latency_ms
    return spent


class Pass(NamedTuple):
    """A forward pass: milliseconds of kernels by family, of small kernels, of collectives."""

    families: Mapping[str, float]
    small: float
    collectives: float

    @property
    def total_ms(self) -> float:
        """Milliseconds of the whole pass."""
        return sum(self.families.values()) + self.small + self.collectives

    @property
    def parts(self) -> dict[str, float]:
        """Milliseconds by part."""
        return {**self.families, "small kernels": self.small, "communication": self.collectives}

    def slowed(self, kernels: float) -> Pass:
        """The same pass with the time of every kernel times `kernels`."""
        families = {name: kernels * ms for name, ms in self.families.items()}
        return Pass(families, kernels * self.small, self.collectives)


class PassForecasts:
    """Passes on one GPU, their kernels forecast together."""

    def __init__(
        self, model: HalfPrecision, device: Device, system: System | None, without: Collection[str] = ()
    ) -> None:
        self.model, self.device, self.system, self.without = model, device, system, without
        self._kernels: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
        self._uses: list[tuple[int, str, str, int, float]] = []  # pass, family, format, place, count
        self._rest: list[tuple[float, float]] = []
        self._sent_ms = cache(sent_ms)  # many passes send the same

    def add(self, shape: Architecture, formats: Formats, work: Work, tp: int = 1, ep: int = 1, pp: int = 1) -> int:
        """Remember one pass; its number."""
        number = len(self._rest)
        for family, dtype, dims, count in layer_kernels(shape, formats, work, tp, ep):
            known = self._kernels[family, dtype]
            self._uses.append((number, family, dtype, len(known), count))
            known.append(dims)
        sent = self._sent_ms(shape, work.tokens, tp, pp, self.system)
        self._rest.append((small_ms(shape, work.tokens, tp, self.device), sent))
        return number

    def passes(self) -> list[Pass]:
        """Forecast all that was added."""
        latency: dict[tuple[str, str], Array] = {}
        for (family, dtype), dims in self._kernels.items():
            columns = dict(zip(DIMENSIONS[family], np.array(dims, dtype=float).T, strict=True))
            wide, _, weights = dtype.partition("/")
            if family == "moe":
                forecast = experts(wide, columns, self.device, self.model, self.without)
            else:
                forecast = self.model.forecast(family, wide, columns, self.device, self.without)
            latency[family, dtype] = forecast["latency_ms"]
            if weights:
                sizes = (np.ones(len(dims)), *(columns[name] for name in "mnk"))
                latency[family, dtype], _ = scaled_ms(
                    sizes, forecast["latency_ms"], forecast["bound"], alone(weights), self.device
                )
        sums: list[dict[str, float]] = [defaultdict(float) for _ in self._rest]
        for number, family, dtype, place, count in self._uses:
            sums[number][family.removeprefix("latent_")] += count * float(latency[family, dtype][place])
        return [Pass(dict(parts), small, sent) for parts, (small, sent) in zip(sums, self._rest, strict=True)]


class Passes(NamedTuple):
    """The passes that a replay is made of, all at mean lengths."""

    steps: Mapping[int, Pass]  # requests -> a pass in which so many decode
    short: Pass  # a quarter of a prompt
    prefill: Pass  # one prompt
    full: Pass  # as many prompts as the budget holds, at most all
    prompts: int  # so many
    prompt: float  # tokens of one
    tokens: int = 1  # that a request brings to a pass that decodes: more with drafts

    def times(self) -> PassTimes:
        """Times of any pass; between these passes time is linear in tokens."""
        one, many = self.prompt, self.prompts * self.prompt
        short, prefill, full = self.short.total_ms, self.prefill.total_ms, self.full.total_ms
        most = max(self.steps)
        counts, steps = zip(*sorted((n, float(found.total_ms)) for n, found in self.steps.items()), strict=True)
        cache, tokens = self.steps[most].families["decode"] / most, self.tokens
        first = (prefill - short) / (0.75 * one)
        second = (full - prefill) / (many - one) if self.prompts > 1 else first
        beyond = full / many if self.prompts > 1 else first

        def step_ms(requests: int) -> float:
            if len(counts) == 1:
                return steps[0]
            place = bisect_left(counts, requests, 1, len(counts) - 1)
            low, high = counts[place - 1], counts[place]
            more = (steps[place] - steps[place - 1]) / (high - low)
            return steps[place - 1] + more * (requests - low)

        def mixed_ms(prompt: float, requests: int) -> float:
            every = prompt + tokens * requests
            if every <= one:
                return max(short, prefill - first * (one - every)) + cache * requests
            if every <= many:
                return prefill + second * (every - one) + cache * requests
            return full + beyond * (every - many) + cache * requests

        return PassTimes(step_ms, mixed_ms)
