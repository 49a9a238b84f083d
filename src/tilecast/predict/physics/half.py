"""The physics of half-precision kernels on matrix units, free of units: what transfers between GPU generations.

A kernel's time is `base x exp(correction)`. `base` is what launch, operations and bytes cost at the rates the GPU
sustains; the correction is learned from ratios that mean the same on every GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tilecast.hardware.device import Device
from tilecast.predict.physics import expert_kernel

Array = np.ndarray[Any, np.dtype[Any]]


class Format(NamedTuple):
    """How operands are stored, and whose peak rate their products run at."""

    weight_bytes: float  # of an element, scales included
    input_bytes: float
    rate: str


FORMATS = {
    "bf16": Format(2, 2, "bf16"),
    "fp8": Format(1, 1, "fp8"),
    "fp8_block": Format(1 + 4 / 128**2, 1 + 4 / 128, "fp8"),
    "nvfp4": Format(0.5 + 1 / 16, 0.5 + 1 / 16, "fp4"),
    "mxfp4": Format(0.5 + 1 / 32, 2, "bf16"),
}
# The shortest kernel takes 2.2 microseconds at 1.9 GHz, half of it at the multiprocessors' clock, half not.
LAUNCH_MS, LAUNCH_CLOCK_HZ = 0.0022, 1.9e9
ATTENTION_LAUNCHES, EXPERT_LAUNCHES = 4, 8  # an attention call writes the cache too; an expert layer sorts tokens
LOOP_CYCLES, LOOP_K = 5300, 2048  # filling the pipeline of a product, in cycles, at `k` of LOOP_K and more
STREAM_SHARE = 0.85  # of peak bandwidth, that long reads reach
# Operands that the benchmark left in the L2 cache come from there: all below the first share of the cache's size,
# none above the second. It repeats attention on the same tensors, a product on several copies of its weights.
WARM, WARM_ATTENTION, CACHED_BYTES_PER_CLOCK = (0.1, 0.35), (0.5, 1.0), 20
TILE_MS = 0.0035  # the shortest time a multiprocessor spends on one sequence and key head of a decoding step
EXPONENTIALS_PER_CLOCK = 16  # of a multiprocessor's special-function units
TILES = ((128, 128), (256, 128), (128, 256), (64, 64), (64, 128), (128, 64), (16, 64))
PEAK_SHARE = 0.92  # of peak, that matrix units reach where power allows


@dataclass(frozen=True)
class PowerLaw:
    """What board power allows: FLOP/s per watt of bf16 products, more with every doubling of a matrix unit's size.

    A larger unit uses an operand more often once it has it, so an operation costs less energy.
    """

    flops_per_joule: float  # of units of 2^10 operations a clock and multiprocessor
    exponent: float


@dataclass(frozen=True)
class Chip:
    """What of a GPU a forecast in one number format rests on."""

    sm_count: float
    clock_hz: float
    peak_flops_per_s: float
    sustained_flops_per_s: float
    bandwidth_bytes_per_s: float
    l2_bytes: float
    unit: float  # log2 of bf16 operations a clock and multiprocessor
    name: str = ""

    def record(self) -> dict[str, float | str]:
        """Plain numbers, for a training record."""
        return asdict(self)

    @property
    def launch_ms(self) -> float:
        """The shortest kernel."""
        return LAUNCH_MS * (LAUNCH_CLOCK_HZ / self.clock_hz) ** 0.5


def chip(device: Device, dtype: str, law: PowerLaw) -> Chip:
    """`device` in one number format; one it has no rate for runs at bf16's, stored narrow and computed wide."""
    half = device.peak_flops_per_s("bf16", matrix=True)
    peak = max(device.matrix_flops_per_s.get(FORMATS[dtype].rate, 0.0), half)
    unit = float(np.log2(half / device.sm_count / device.clock_hz))
    share = PEAK_SHARE
    if device.power_w is not None:
        allowed = law.flops_per_joule * 2 ** (law.exponent * (unit - 10)) * device.power_w / half
        share = (PEAK_SHARE**-6 + allowed**-6) ** (-1 / 6)
    return Chip(
        device.sm_count, device.clock_hz, peak, share * peak, device.bandwidth_bytes_per_s, device.l2_bytes, unit,
        device.name,
    )  # fmt: skip


class Cast(NamedTuple):
    """What is known of kernels before an expert speaks."""

    features: Array  # (rows, features), single precision
    base_ms: Array
    roofline_ms: Array  # operations at peak rate or bytes at peak bandwidth, whichever takes longer
    floor_ms: Array  # operations at peak rate: bytes may come from the cache
    bound: Array  # 0 compute, 1 bandwidth, 2 latency


def _log(value: Array, low: float, high: float) -> Array:
    return np.log2(np.clip(value, low, high))


def _memory_ms(moved: Array, on: Chip, warm: tuple[float, float] = WARM) -> Array:
    """Milliseconds to move bytes, from L2 where they fit well."""
    cold = (_log(moved / on.l2_bytes, *warm) - np.log2(warm[0])) / np.log2(warm[1] / warm[0])
    stream = moved / (on.bandwidth_bytes_per_s * STREAM_SHARE)
    cached = moved / (on.sm_count * on.clock_hz * CACHED_BYTES_PER_CLOCK)
    return 1e3 * np.minimum(stream, cold * stream + (1 - cold) * cached)


def _waste(rows: Array, columns: Array, tile: tuple[int, int], on: Chip, groups: Array | float = 1.0) -> Array:
    """log2 of results computed over results wanted: whole tiles in whole waves."""
    blocks = groups * np.ceil(rows / tile[0]) * np.ceil(columns / tile[1])
    computed = np.ceil(blocks / on.sm_count) * on.sm_count * tile[0] * tile[1]
    return _log(computed / (groups * rows * columns), 1, 256)


def _finish(columns: list[Array], parts: tuple[Array, Array, Array], flops: Array, moved: Array, on: Chip) -> Cast:
    fixed, compute, memory = parts
    bound = np.where(fixed > compute + memory, 2, np.where(compute > memory, 0, 1))
    features = np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float32)
    floor = 1e3 * flops / on.peak_flops_per_s
    roofline = np.maximum(floor, 1e3 * moved / on.bandwidth_bytes_per_s)
    return Cast(features, fixed + compute + memory, roofline, floor, bound)


def gemm(v: Mapping[str, Array], dtype: str, on: Chip) -> Cast:
    """Products (m, k) x (k, n)."""
    m, n, k, stored = v["m"], v["n"], v["k"], FORMATS[dtype]
    flops = 2 * m * n * k
    moved = stored.input_bytes * m * k + stored.weight_bytes * n * k + 2 * m * n
    compute, memory = 1e3 * flops / on.sustained_flops_per_s, _memory_ms(moved, on)
    loop = 1e3 * LOOP_CYCLES / on.clock_hz * np.minimum(1, k / LOOP_K)
    fixed = on.launch_ms + loop
    columns = [_waste(m, n, tile, on) for tile in TILES]
    columns += [np.log2(m), np.log2(n), np.log2(k)]
    columns += [
        _log(m * n / (on.sm_count * 16384), 1e-3, 600),
        _log(memory / compute, 1e-3, 1e3),
        _log(moved / on.l2_bytes, 1e-3, 1e3),
        _log((compute + memory) / fixed, 1e-2, 1e3),
        _log(2 * m * n / moved, 1e-3, 1),
    ]
    return _finish(columns, (fixed, compute, memory), flops, moved, on)


def _seen(tokens: Array, context: Array, window: Array) -> Array:
    """Keys all the last `tokens` queries of `context` see together, each none after itself."""
    span = np.where(window > 0, np.minimum(window, context), context)
    short = np.clip(span - (context - tokens), 0, tokens)  # queries that see fewer keys than the window holds
    return tokens * span - short * (short - 1) / 2


def attention(v: Mapping[str, Array], dtype: str, on: Chip, decode: bool) -> Cast:
    """Causal attention of `tokens` queries (one, in decoding) over `context` keys, heads grouped."""
    b, h, kv, d, window = (v[name] for name in ("batch", "heads", "kv_heads", "head_dim", "window"))
    context = v["context"] if decode else v["tokens"]
    tokens = np.ones_like(context) if decode else v["tokens"]
    size = FORMATS[dtype].weight_bytes
    pairs = b * h * _seen(tokens, context, window)
    flops = 4 * pairs * d
    keys = np.where(decode & (window > 0), np.minimum(window, context), context)
    moved = 2 * b * kv * keys * d * size + 2 * b * tokens * d * (2 * h + (0 if decode else 2 * kv))
    exponentials = 1e3 * pairs / (on.sm_count * on.clock_hz * EXPONENTIALS_PER_CLOCK)
    matrix = 1e3 * flops / on.sustained_flops_per_s
    compute = matrix + (0.0 if decode else 0.5) * exponentials
    memory = _memory_ms(moved, on, WARM_ATTENTION)
    fixed = np.full(len(b), ATTENTION_LAUNCHES * on.launch_ms)
    groups = b * (kv if decode else h)
    if decode:
        memory = np.maximum(memory, TILE_MS * groups / on.sm_count)
    columns = [_waste(tokens * (h / kv if decode else 1), d, (rows, 1), on, groups / d) for rows in (64, 128)]
    if decode:
        splits = np.ceil(keys / 256)
        columns = [_log(groups / on.sm_count, 1e-3, 1e3), _log(groups * splits / on.sm_count, 1e-3, 1e5)]
    columns += [np.log2(b), np.log2(context), np.log2(h / kv), np.log2(kv), np.log2(d)]
    columns += [
        np.where(window > 0, 1.0, 0.0),  # some libraries read grouped keys once a head where a window is set
        _log(np.where(window > 0, window, context) / context, 1e-3, 1),
        _log(memory / compute, 1e-3, 1e3),
        _log(moved / on.l2_bytes, 1e-3, 1e3),
        _log((compute + memory) / fixed, 1e-2, 1e4),
        _log(exponentials / matrix, 1e-2, 1e2),
        _log(2 * b * h * d * tokens / (on.sm_count * 16384), 1e-3, 1e3),
    ]
    return _finish(columns, (fixed, compute, memory), flops, moved, on)


@lru_cache(maxsize=1 << 16)
def expert_load(tokens: float, topk: float, experts: float, ep: float, skew: float) -> tuple[float, float]:
    """(rows, experts with rows) of the fullest of `ep` GPUs: loads alike, or quantiles of a power law, shuffled.

    As the publisher's collector does it: loads are drawn between 1 and 0.8 of all tokens with density x^-skew,
    scaled to all assignments, none above one a token.
    """
    count, wanted = int(experts), tokens * topk
    if skew == 0:
        loads = np.full(count, wanted / count)
    else:
        u = (np.arange(count) + 0.5) / count
        top = max(0.8 * tokens, 1.0)
        power = 1 - skew
        loads = ((top**power - 1) * u + 1) ** (1 / power)
        loads = np.minimum(loads * wanted / loads.sum(), tokens)
        loads = np.random.default_rng(0).permutation(loads * wanted / loads.sum())
    ranks = loads[: count // int(ep) * int(ep)].reshape(int(ep), -1)
    fullest = ranks[ranks.sum(axis=1).argmax()]
    return float(fullest.sum()), float(-np.expm1(-fullest).sum())  # an expert has a row with 1 - exp(-load)


def moe(v: Mapping[str, Array], dtype: str, on: Chip) -> Cast:
    """The experts of one GPU of a mixture: three matrices each, tokens sorted by expert."""
    names = ("tokens", "topk", "experts", "ep", "skew")
    keys, place = np.unique(np.stack([v[name] for name in names], axis=1), axis=0, return_inverse=True)
    loads = np.array([expert_load(*map(float, key)) for key in keys]).reshape(-1, 2)[place.reshape(-1)]
    rows, active = np.maximum(loads[:, 0], 1e-3), np.maximum(loads[:, 1], 1e-3)
    hidden, inter, stored = v["hidden"], v["inter"] / v["tp"], FORMATS[dtype]
    flops = 6 * rows * hidden * inter
    moved = 3 * active * hidden * inter * stored.weight_bytes
    moved = moved + rows * (2 * hidden * stored.input_bytes + 6 * inter) + 4 * v["tokens"] * hidden
    compute, memory = 1e3 * flops / on.sustained_flops_per_s, _memory_ms(moved, on)
    fixed = np.full(len(rows), EXPERT_LAUNCHES * on.launch_ms)
    each = np.maximum(rows / active, 1.0)
    columns = [_waste(each, 2 * inter, tile, on, active) for tile in ((128, 128), (64, 128), (16, 64))]
    columns += [_waste(each, hidden, tile, on, active) for tile in ((128, 128), (16, 64))]
    columns += [
        np.log2(v["tokens"]),
        np.log2(rows),
        np.log2(each),
        np.log2(active),
        np.log2(v["experts"] / v["ep"]),
    ]
    columns += [np.log2(hidden), np.log2(inter), np.log2(v["topk"]), v["skew"]]
    columns += [
        _log(memory / compute, 1e-3, 1e3),
        _log(moved / on.l2_bytes, 1e-3, 1e3),
        _log((compute + memory) / fixed, 1e-2, 1e4),
    ]
    return _finish(columns, (fixed, compute, memory), flops, moved, on)


def triton(v: Mapping[str, Array], dtype: str, on: Chip) -> tuple[Cast, expert_kernel.Launch]:
    """Experts by Triton's kernel: what is known without fitted rates, and the work that rates are asked about."""
    stored = FORMATS[dtype]
    work = expert_kernel.launch(v, dtype, stored.weight_bytes, stored.input_bytes, on.name)
    moved = work.weights + work.activations
    compute = 1e3 * work.wanted_flops / on.sustained_flops_per_s
    memory = 1e3 * moved / (on.bandwidth_bytes_per_s * STREAM_SHARE)
    fixed = np.full(len(compute), EXPERT_LAUNCHES * on.launch_ms)
    return _finish([fixed], (fixed, compute, memory), work.wanted_flops, moved, on), work


def cast(family: str, dims: Mapping[str, Array], dtype: str, on: Chip) -> Cast:
    """Kernels of one family and number format on one chip."""
    if family == "gemm":
        return gemm(dims, dtype, on)
    if family == "moe":
        return moe(dims, dtype, on)
    if family == expert_kernel.FAMILY:
        return triton(dims, dtype, on)[0]
    return attention(dims, dtype, on, decode=family == "decode")
