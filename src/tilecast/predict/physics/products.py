"""Matrix products on a GPU nobody measured: physics with a few rates fitted on other generations, then corrected.

A product's time is launch + operations by whole tiles in whole waves + bytes from memory or the L2 cache, and in
narrow formats a kernel that narrows the activations first. The rates are common to all GPUs. What a generation's
kernels do beyond is learned against its own level and carried over in part: the longer a call, the less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.predict.physics.chip import (
    FORMATS,
    LAUNCH_CLOCK_HZ,
    Chip,
    Estimate,
    estimate,
    log2_within,
    power_limited_share,
    tile_waste,
)
from tilecast.predict.physics.half import LOOP_K, TILES


def _log(start: float, spread: float) -> float:
    """A rate fitted as a logarithm: where a fit starts and is drawn back to, and how far it may go."""
    return field(metadata={"start": np.log(start), "spread": spread, "of": np.exp})


def _plain(start: float, spread: float) -> float:
    """A rate fitted as it is."""
    return field(metadata={"start": start, "spread": spread, "of": float})


@dataclass(frozen=True)
class Rates:
    """Fitted rates of matrix products, common to all GPUs.

    They start from this library's constants for half precision; what no data tell apart stays there.
    """

    peak_share: float = _log(0.92, 0.03)  # of peak, where power allows
    flops_per_picojoule: float = _log(0.7, 0.1)  # of bf16 on units of 2^10 operations a clock and multiprocessor
    exponent: float = _plain(0.4, 0.05)  # how that grows with the unit's size
    narrow_gain: float = _log(0.75, 0.15)  # of a doubled rate, how much power lets through
    tile_128: float = _log(0.95, 0.1)  # share of the largest tile's rate, by size
    tile_64: float = _log(0.8, 0.1)
    tile_small: float = _log(0.65, 0.1)
    wave_cycles: float = _log(1200.0, 0.5)  # of every wave of tiles, to begin and to write
    partial: float = _plain(0.0, 1.0)  # logit of how far a part of a wave costs its part only
    split_cycles: float = _log(1500.0, 0.5)  # of adding up parts of a product cut along k
    stream: float = _log(0.85, 0.15)  # share of bandwidth
    cached_bytes_per_clock: float = _log(20.0, 0.3)  # of a multiprocessor, from L2
    cache_share: float = _log(1.0, 0.3)  # of L2 that holds what is used again
    cache_width: float = _log(0.15, 0.7)  # how sharp its end is, in logs of size
    memory_ms: float = _log(0.5e-3, 0.5)  # first bytes from memory
    overlap: float = _log(1.5, 0.3)  # 1 + this: the power mean of operations and bytes
    launch_ms: float = _log(2.2e-3, 0.3)  # at LAUNCH_CLOCK_HZ
    fill_cycles: float = _log(4000.0, 0.5)  # of the pipeline, for k of LOOP_K and more
    narrow_ms: float = _log(2.2e-3, 0.3)  # launch of the kernel that narrows activations
    row_cycles: float = _log(1000.0, 1.0)  # of a multiprocessor, for each row narrowed one by one
    element_cycles: float = _log(0.5, 0.7)

    @classmethod
    def of(cls, vector: Sequence[float] | Array) -> Rates:
        """The rates of a fitted vector, in the order of the fields."""
        return cls(*(float(one.metadata["of"](x)) for one, x in zip(fields(cls), vector, strict=True)))


RATES = tuple(one.name for one in fields(Rates))
START, SPREAD = (np.array([one.metadata[key] for one in fields(Rates)]) for key in ("start", "spread"))
# (rows, columns) -> which share of the largest tile's rate.
_TILES = {
    (256, 128): "", (128, 256): "", (128, 128): "tile_128", (64, 256): "tile_128",
    (64, 128): "tile_64", (128, 64): "tile_64", (64, 64): "tile_small",
}  # fmt: skip
_SPLITS = (1, 2, 4, 8)
_SUM_BYTES, _SUM_BYTES_PER_CLOCK = 4, 20  # of a partial result; what a multiprocessor adds up in a clock
# ASSUME: dies with large matrix units (log2 operations a clock and multiprocessor) keep L2 as two halves that each
# hold a copy of what both read: A100, H100 and B200 are built so, L40S and RTX PRO 6000 are not.
HALVED_FROM_UNIT = 10.5
# Weight copies the publisher's benchmark goes through with one activation, one after the other.
_COPIES = {"bf16": 6.0, "fp8": 6.0, "nvfp4": 1.0, "mxfp4": 1.0}
_ONE_BY_ONE = ("fp8",)  # formats whose activations are narrowed a row at a time by a kernel of its own
OWN_SPREAD = 0.15  # of a GPU's own level of launch, operations and bytes about the common one, in logs


def _cold(footprint: Array, held: float, width: float) -> Array:
    """Share of what is used again that has left the cache: 1 / (1 + (held / footprint)^(1 / width)), in bytes."""
    return np.asarray(1 / (1 + (held / footprint) ** (1 / width)))


def sustained_share(on: Chip, r: Rates) -> float:
    """Share of peak that a long product sustains in this format."""
    gain = r.narrow_gain ** np.log2(on.peak_flops_per_s / on.half_flops_per_s)
    return power_limited_share(on, r.flops_per_picojoule * 1e12, r.exponent, r.peak_share, gain)


def _compute_ms(m: Array, n: Array, k: Array, on: Chip, r: Rates) -> Array:
    """Milliseconds of operations, by the fastest of several tiles and cuts along k.

    A tile of R x C takes 2 R C k / split / rate, waves = tiles split / multiprocessors of them follow each other;
    the least of all choices is softened: (sum time^-12)^(-1/12).
    """
    milli = 1e3 / on.clock_hz
    rate = sustained_share(on, r) * on.peak_flops_per_s / on.sm_count / 1e3  # of a multiprocessor, a millisecond
    partial, ways = 1 / (1 + np.exp(-r.partial)), np.zeros_like(m)
    for (rows, columns), share in _TILES.items():
        tiles = np.ceil(m / rows) * np.ceil(n / columns)
        for split in _SPLITS:
            waves = tiles * (split / on.sm_count)
            waves = (1 - partial) * np.ceil(waves) + partial * np.maximum(waves, 1)
            loop = k * (2.0 * rows * columns / split / (rate * (getattr(r, share) if share else 1.0)))
            time = waves * (loop + r.wave_cycles * milli)
            if split > 1:  # parts are written, read and added up
                adding = _SUM_BYTES * 1e3 * split / (on.sm_count * on.clock_hz * _SUM_BYTES_PER_CLOCK)
                time += r.split_cycles * milli + m * n * adding
            ways += time**-12.0
    return np.asarray(ways ** (-1 / 12))


def _narrowing_ms(v: Mapping[str, Array], dtype: str, on: Chip, r: Rates, held: float) -> Array:
    """The kernel that turns bf16 activations into a narrower format: a launch, and its bytes; zero in bf16."""
    if dtype == "bf16":
        return np.zeros_like(v["m"])
    stored, width = FORMATS[dtype], r.cache_width
    elements = v["m"] * v["k"]
    after = stored.weight_bytes * v["n"] * v["k"] + 4 * v["m"] * v["n"] + 2 * stored.input_bytes * elements
    moved = (2 + stored.input_bytes) * elements
    cold = _cold(2 * elements + after, held, width)
    from_cache = moved / (on.sm_count * on.clock_hz * r.cached_bytes_per_clock)
    busy = 1e3 * (cold * moved / (on.bandwidth_bytes_per_s * r.stream) + (1 - cold) * from_cache)
    if dtype in _ONE_BY_ONE:
        cycles = np.hypot(r.row_cycles, r.element_cycles * v["k"]) * v["m"] / on.sm_count
        busy = (busy**4 + (1e3 * cycles / on.clock_hz) ** 4) ** 0.25
    return np.asarray(r.narrow_ms * (LAUNCH_CLOCK_HZ / on.clock_hz) ** 0.5 + busy)


def narrowing_ms(v: Mapping[str, Array], dtype: str, on: Chip, rates: Array) -> Array:
    """Milliseconds of the kernel that narrows a product's activations, which the product's time contains."""
    r = Rates.of(rates)
    halves = 0.5 if on.unit > HALVED_FROM_UNIT else 1.0
    return _narrowing_ms(v, dtype, on, r, r.cache_share * on.l2_bytes * halves)


def physics(v: Mapping[str, Array], dtype: str, on: Chip, rates: Array, level: Array | None = None) -> Estimate:
    """Products (m, k) x (k, n) at fitted `rates`: launch + (operations^p + bytes^p)^(1/p), p = 1 + overlap.

    `level`: logs of a GPU's own launch, operations and bytes about the common ones. This project's own model.
    """
    r = Rates.of(rates)
    m, n, k, stored = v["m"], v["n"], v["k"], FORMATS[dtype]
    own = np.exp(np.zeros(3) if level is None else level)
    compute = own[1] * _compute_ms(m, n, k, on, r)
    weights, inputs, outputs = n * k * stored.weight_bytes, m * k * stored.input_bytes, 2 * m * n
    copies = _COPIES[dtype] if dtype in _COPIES else np.clip(np.ceil(on.l2_bytes / (n * k)), 1, 5)
    halves = 0.5 if on.unit > HALVED_FROM_UNIT else 1.0
    held = r.cache_share * on.l2_bytes * halves
    cold = _cold(copies * weights + inputs + outputs, held, r.cache_width)
    far = (weights + outputs) * cold + inputs * _cold(weights + inputs + 2 * outputs, held, r.cache_width)
    moved = weights + inputs + outputs
    near = (moved - far) / (on.sm_count * on.clock_hz * r.cached_bytes_per_clock)
    memory = 1e3 * (far / (on.bandwidth_bytes_per_s * r.stream) + near) + r.memory_ms * cold
    memory = own[2] * memory
    fill = r.fill_cycles * (1e3 / on.clock_hz) * np.minimum(1, k / LOOP_K)
    fixed = r.launch_ms * (LAUNCH_CLOCK_HZ / on.clock_hz) ** 0.5 + fill
    fixed = own[0] * (fixed + _narrowing_ms(v, dtype, on, r, held))
    power, cache = 1 + r.overlap, on.l2_bytes * halves
    base = fixed + (compute**power + memory**power) ** (1 / power)
    columns = [
        *tile_waste(m, n, TILES, on),
        *map(np.log2, (m, n, k)),
        log2_within(m * n / (on.sm_count * 16384), 1e-3, 600),
        log2_within(memory / compute, 1e-3, 1e3),
        log2_within((compute + memory) / fixed, 1e-2, 1e3),
        log2_within(weights / cache, 1e-3, 1e3),
        log2_within((inputs + outputs) / cache, 1e-3, 1e3),
        log2_within(outputs / moved, 1e-3, 1),
    ]
    return estimate(columns, fixed, compute, memory, 2 * m * n * k, moved, on, base)


# ---------------------------------------------------------------- fitting


def fit_rates(
    parts: Sequence[tuple[Mapping[str, Array], Chip, Array, Array]], dtype: str, start: Array, back: float
) -> Array:
    """Rates by damped Gauss-Newton on log errors (beyond 5 % absolute), drawn `back` to `start`.

    `parts`: of each GPU the dimensions, the board, measured milliseconds, and weights; these sum to one over all.
    """

    def errors(rates: Array) -> Array:
        return np.concatenate([np.log(physics(v, dtype, on, rates).base_ms / t) for v, on, t, _ in parts])

    weight = np.concatenate([w for *_, w in parts])
    return _gauss_newton(errors, weight, start, back / len(start) / SPREAD**2, 8)


def fit_level(
    v: Mapping[str, Array], dtype: str, on: Chip, rates: Array, measured_ms: Array, weight: Array
) -> Array:
    """A GPU's own level of launch, operations and bytes about the common rates, in logs."""

    def errors(level: Array) -> Array:
        return np.log(physics(v, dtype, on, rates, level).base_ms / measured_ms)

    return _gauss_newton(errors, weight, np.zeros(3), np.full(3, 0.03 / 3 / OWN_SPREAD**2), 4)


def _gauss_newton(errors: Any, weight: Array, start: Array, stiffness: Array, steps: int) -> Array:
    beta, damping, x = 0.05, 1e-3, start.copy()

    def loss(e: Array, at: Array) -> float:
        size = np.abs(e)
        robust = np.where(size < beta, e**2 / (2 * beta), size - beta / 2)
        return float(weight @ robust + stiffness @ (at - start) ** 2)

    e = errors(x)
    now = loss(e, x)
    for _ in range(steps):
        slopes = np.stack([(errors(x + 1e-3 * unit) - e) / 1e-3 for unit in np.eye(len(x))], axis=1)
        share = weight / np.maximum(np.abs(e), beta)
        normal = slopes.T @ (slopes * share[:, None]) + 2 * np.diag(stiffness)
        gradient = slopes.T @ (share * e) + 2 * stiffness * (x - start)
        for _ in range(6):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            step = np.clip(step, -1, 1)
            tried = errors(x + step)
            if (value := loss(tried, x + step)) < now:
                x, e, now, damping = x + step, tried, value, damping / 10
                break
            damping *= 10
        else:
            break
    return x
