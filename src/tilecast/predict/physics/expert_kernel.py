"""Experts of a mixture by Triton's fused kernel, and which tokens a GPU's experts get.

It is the one kernel of experts that was measured on every generation, so like is compared with like. Which tiles
it launches is public: one of two by a rule of tokens and experts, or tuned ones where its authors ship a
configuration for that GPU and shape. What a tile costs follows from the GPU; few numbers are fitted, none is a
GPU's own.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.paths import TUNED_KERNELS
from tilecast.predict.physics.chip import Chip

FAMILY = "moe_triton"
BLOCKS = (16, 32, 64, 128)  # rows of a tile
GROUP_ROWS = 512  # rows served by one pass over an expert's weights: eight tiles of 64
SHORT, LONG, TUNED_TILES = 0, 1, 2

# ---------------------------------------------------------------- tokens of a GPU's experts


class ExpertLoad(NamedTuple):
    """What the fullest GPU of a layer of experts gets."""

    rows: float
    active: float  # experts with rows
    tiles: tuple[float, ...]  # by BLOCKS
    passes: float  # over an expert's weights


def _drawn(count: int, least: float, most: float, skew: float) -> Array:
    """Quantiles of `count` loads with density x^-skew between `least` and `most`, as the publisher draws them."""
    power, place = 1 - skew, (np.arange(count) + 0.5) / count
    return np.asarray(((most**power - least**power) * place + least**power) ** (1 / power))


def _fullest(loads: Array, ep: float) -> Array:
    """Loads of the experts of that one of `ep` GPUs that has most rows."""
    ranks = loads[: len(loads) // int(ep) * int(ep)].reshape(int(ep), -1)
    return np.asarray(ranks[ranks.sum(axis=1).argmax()])


def _shuffled(loads: Array) -> Array:
    return np.random.default_rng(0).permutation(loads)


@lru_cache(maxsize=1 << 16)
def expected_load(tokens: float, topk: float, experts: float, ep: float, skew: float) -> tuple[float, float]:
    """Expected rows, and experts with rows, of the fullest of `ep` GPUs; loads need not be whole.

    Loads are alike, or drawn with density x^-skew between 1 and 0.8 of all tokens, scaled to all assignments, none
    above one a token: as the publisher's collector does it.
    """
    count, wanted = int(experts), tokens * topk
    if skew == 0:
        loads = np.full(count, wanted / count)
    else:
        loads = _drawn(count, 1.0, max(0.8 * tokens, 1.0), skew)
        loads = np.minimum(loads * wanted / loads.sum(), tokens)
        loads = _shuffled(loads * wanted / loads.sum())
    fullest = _fullest(loads, ep)
    return float(fullest.sum()), float(-np.expm1(-fullest).sum())  # an expert has a row with 1 - exp(-load)


def _to_level(counts: Array, wanted: int) -> Array:
    """Counts whose smallest are raised, or largest lowered, to one level, so that their sum is `wanted`."""
    missing = wanted - int(counts.sum())
    sign = 1 if missing > 0 else -1
    low, high = 0, int(counts.max()) + abs(missing)
    while low < high:  # the last level that asks for no more than is missing
        level = (low + high + (sign > 0)) // 2
        changed = np.maximum(counts, level) if sign > 0 else np.minimum(counts, level)
        within = abs(int(changed.sum()) - int(counts.sum())) <= abs(missing)
        if sign > 0:
            low, high = (level, high) if within else (low, level - 1)
        else:
            low, high = (low, level) if within else (level + 1, high)
    changed = np.maximum(counts, low) if sign > 0 else np.minimum(counts, low)
    rest = wanted - int(changed.sum())
    at = np.flatnonzero(changed == low)[: abs(rest)]
    changed[at] += np.sign(rest)
    return changed


@lru_cache(maxsize=1 << 16)
def load(tokens: float, topk: float, experts: float, ep: float, skew: float) -> ExpertLoad:
    """Whole rows by expert on the fullest of `ep` GPUs, as the publisher's collector deals them out.

    Like `expected_load`, but rounded, and drawn between 0.01 and 2 where there are fewer assignments than experts.
    """
    count, wanted = int(experts), int(tokens * topk)
    if skew == 0:
        counts = wanted // count + (np.arange(count) < wanted % count).astype(int)
    else:
        least, most = (1.0, max(0.8 * tokens, 1.001)) if wanted > count else (0.01, 2.0)
        drawn = _drawn(count, least, most, skew)
        counts = np.minimum(np.rint(drawn * wanted / drawn.sum()), tokens).astype(int)
        if counts.sum() != wanted:
            counts = _to_level(counts, wanted)
        counts = _shuffled(counts)
    rows = _fullest(counts, ep)
    rows = rows[rows > 0]
    tiles = tuple(float(np.ceil(rows / block).sum()) for block in BLOCKS)
    return ExpertLoad(float(rows.sum()), float(len(rows)), tiles, float(np.ceil(rows / GROUP_ROWS).sum()))


def by_layer(v: Mapping[str, Array], load_of: Callable[..., Sequence[float] | Array]) -> Array:
    """The numbers of `load_of(tokens, topk, experts, ep, skew)` for many layers, a row each."""
    names = ("tokens", "topk", "experts", "ep", "skew")
    keys, place = np.unique(np.stack([v[name] for name in names], axis=1), axis=0, return_inverse=True)
    return np.array([load_of(*map(float, key)) for key in keys], dtype=float)[place.reshape(-1)]


# ---------------------------------------------------------------- the launch and its time


@lru_cache(maxsize=1)
def _tuned() -> frozenset[tuple[str, str, int, int]]:
    with TUNED_KERNELS.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(line for line in stream if not line.startswith("#"))
        return frozenset((r["device"], r["dtype"], int(r["experts"]), int(r["width"])) for r in rows)


class Launch(NamedTuple):
    """Two grouped products as the kernel launches them."""

    tiles: Array  # SHORT, LONG or TUNED_TILES
    flops: Array  # of whole tiles
    wanted_flops: Array
    weights: Array  # bytes of the experts that have rows
    reread: Array  # bytes of weights read again by later passes
    expert: Array  # bytes of one expert
    activations: Array  # bytes


def launch(v: Mapping[str, Array], dtype: str, weight_bytes: float, input_bytes: float, device: str) -> Launch:
    """What the kernel computes and moves for layers of experts on one GPU."""
    found = np.maximum(by_layer(v, lambda *layer: np.hstack(load(*layer))), 1.0)
    rows, active, by_block, passes = found[:, 0], found[:, 1], found[:, 2:6], found[:, 6]
    experts, width, hidden = v["experts"] / v["ep"], v["inter"] / v["tp"], v["hidden"]
    known = _tuned()
    tuned = np.array([(device, dtype, int(e), int(n)) in known for e, n in zip(experts, width, strict=True)])
    each = rows / active
    fitting = np.select([each <= block for block in BLOCKS[:3]], range(3), 3)  # ASSUME: tuned tiles fit their rows
    short = (v["tokens"] <= experts) & (dtype == "bf16")
    place = np.where(tuned, fitting, np.where(short, 0, 2))
    padded = by_block[np.arange(len(rows)), place] * np.array(BLOCKS)[place]
    matrix = 3 * hidden * width
    return Launch(
        np.where(tuned, TUNED_TILES, np.where(short, SHORT, LONG)),
        2 * padded * matrix,
        2 * rows * matrix,
        active * matrix * weight_bytes,
        np.maximum(passes - active, 0) * matrix * weight_bytes,
        matrix * weight_bytes,
        rows * (2 * hidden * input_bytes + 6 * width) + 4 * v["tokens"] * hidden,
    )


@dataclass(frozen=True)
class KernelRates:
    """Fitted numbers, all logarithms but the exponents; the first three by tiles (short, long, tuned)."""

    operations: tuple[float, float, float] = (6.55, 6.55, 6.9)  # a clock and multiprocessor at units of 2^11
    growth: tuple[float, float, float] = (0.5, 0.5, 0.7)  # of that, with the matrix unit
    stream: tuple[float, float, float] = (-0.29, -0.6, -0.36)  # share of bandwidth that weights reach
    activations: float = 0.0  # bytes that count of those the activations have
    reuse: float = 0.0  # an expert's bytes over the L2 cache's, where half is read again
    launches: float = 2.3  # in the shortest kernel's times
    overlap: float = 0.7  # of operations and bytes: the norm they add in
    power: float = 0.5  # exponent of the share of peak that board power allows
    cold_at: float = -0.7  # all weights over the L2 cache, where half comes from memory
    cold_steep: float = 2.0
    cached: float = -0.9  # time of cached bytes over that of streamed ones

    def vector(self) -> Array:
        """All numbers in order."""
        return np.hstack([getattr(self, name) for name in self.__dataclass_fields__])

    @classmethod
    def of(cls, vector: Sequence[float]) -> KernelRates:
        """The inverse of `vector`."""
        parts = [tuple(float(x) for x in vector[i : i + 3]) for i in (0, 3, 6)]
        return cls(*parts, *(float(x) for x in vector[9:]))  # type: ignore[arg-type]


START = KernelRates()
HOLD = 2.0  # weight of a rate's distance from START, in rows' log errors; of five tried


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -50, 50))))


def time_ms(work: Launch, on: Chip, rates: KernelRates = START) -> Array:
    """Milliseconds of a layer of experts: launches, then operations and bytes, partly at once.

    time = launches + (compute^p + memory^p)^(1/p); operations run at a rate by tiles that grows with the matrix
    unit, bytes come from memory or, as far as all weights fit there, from the L2 cache. This project's own model.
    """
    tiles = work.tiles
    rate = np.exp(np.array(rates.operations)[tiles] + np.array(rates.growth)[tiles] * (on.unit - 11))
    allowed = (on.sustained_flops_per_s / on.peak_flops_per_s) ** rates.power
    compute = work.flops / (rate * on.sm_count * on.clock_hz * allowed)
    cold = _sigmoid(rates.cold_steep * (np.log(np.clip(work.weights / on.l2_bytes, 1e-3, 1e3)) - rates.cold_at))
    again = _sigmoid(np.log(np.clip(work.expert / on.l2_bytes, 1e-3, 1e3)) - rates.reuse)
    moved = work.weights * (cold + (1 - cold) * np.exp(rates.cached))
    moved = moved + work.reread * again + work.activations * np.exp(rates.activations)
    memory = moved / (on.bandwidth_bytes_per_s * np.exp(np.array(rates.stream)[tiles]))
    norm = np.exp(rates.overlap)
    return np.asarray(np.exp(rates.launches) * on.launch_ms + 1e3 * (compute**norm + memory**norm) ** (1 / norm))


def fit(kernels: Sequence[tuple[Launch, Chip, Array, float]]) -> KernelRates:
    """Rates from several GPUs' kernels (work, GPU, measured milliseconds, weight), near START in doubt."""
    from scipy.optimize import least_squares

    first = START.vector()

    def residuals(vector: Array) -> Array:
        rates = KernelRates.of(vector.tolist())
        parts = [weight * np.log(time_ms(work, on, rates) / measured) for work, on, measured, weight in kernels]
        return np.concatenate([*parts, HOLD * (vector - first)])

    found = least_squares(residuals, first, loss="soft_l1", f_scale=0.2, max_nfev=60)
    return KernelRates.of(np.round(found.x, 4).tolist())
