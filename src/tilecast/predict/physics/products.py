"""Matrix products on a GPU nobody measured: physics with a few rates fitted on other generations, then corrected.

A product's time is launch + operations by whole tiles in whole waves + bytes from memory or the L2 cache, and in
narrow formats a kernel that narrows the activations first. The rates are common to all GPUs. What a generation's
kernels do beyond is learned against its own level and carried over in part: the longer a call, the less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.hardware.device import Device
from tilecast.predict.physics.half import FORMATS, TILES, Array, Cast

if TYPE_CHECKING:
    from tilecast.predict.half_precision import Bounded

# Fitted rates: where a fit starts and is drawn back to, and how far it may go. Logs, but for two.
# Starts are this library's constants for half precision; what no data tell apart stays there.
RATES: dict[str, tuple[float, float]] = {
    "peak_share": (np.log(0.92), 0.03),  # of peak, where power allows
    "flops_per_picojoule": (np.log(0.7), 0.1),  # of bf16 on units of 2^10 operations a clock and multiprocessor
    "exponent": (0.4, 0.05),  # how that grows with the unit's size
    "narrow_gain": (np.log(0.75), 0.15),  # of a doubled rate, how much power lets through
    "tile_128": (np.log(0.95), 0.1),  # share of the largest tile's rate, by size
    "tile_64": (np.log(0.8), 0.1),
    "tile_small": (np.log(0.65), 0.1),
    "wave_cycles": (np.log(1200.0), 0.5),  # of every wave of tiles, to begin and to write
    "partial": (0.0, 1.0),  # logit of how far a part of a wave costs its part only
    "split_cycles": (np.log(1500.0), 0.5),  # of adding up parts of a product cut along k
    "stream": (np.log(0.85), 0.15),  # share of bandwidth
    "cached_bytes_per_clock": (np.log(20.0), 0.3),  # of a multiprocessor, from L2
    "cache_share": (0.0, 0.3),  # of L2 that holds what is used again
    "cache_width": (np.log(0.15), 0.7),  # how sharp its end is, in logs of size
    "memory_ms": (np.log(0.5e-3), 0.5),  # first bytes from memory
    "overlap": (np.log(1.5), 0.3),  # 1 + this: the power mean of operations and bytes
    "launch_ms": (np.log(2.2e-3), 0.3),  # at 1.9 GHz
    "fill_cycles": (np.log(4000.0), 0.5),  # of the pipeline, for k of 2048 and more
    "narrow_ms": (np.log(2.2e-3), 0.3),  # launch of the kernel that narrows activations
    "row_cycles": (np.log(1000.0), 1.0),  # of a multiprocessor, for each row narrowed one by one
    "element_cycles": (np.log(0.5), 0.7),
}
PLAIN_RATES = ("exponent", "partial")
START = np.array([start for start, _ in RATES.values()])
SPREAD = np.array([spread for _, spread in RATES.values()])
# (rows, columns) -> which share of the largest tile's rate.
_TILES = {
    (256, 128): "", (128, 256): "", (128, 128): "tile_128", (64, 256): "tile_128",
    (64, 128): "tile_64", (128, 64): "tile_64", (64, 64): "tile_small",
}  # fmt: skip
_SPLITS = (1, 2, 4, 8)
# ASSUME: dies with large matrix units (log2 operations a clock and multiprocessor) keep L2 as two halves that each
# hold a copy of what both read: A100, H100 and B200 are built so, L40S and RTX PRO 6000 are not.
HALVED_FROM_UNIT = 10.5
# Weight copies the publisher's benchmark goes through with one activation, one after the other.
_COPIES = {"bf16": 6.0, "fp8": 6.0, "nvfp4": 1.0, "mxfp4": 1.0}
_ONE_BY_ONE = ("fp8",)  # formats whose activations are narrowed a row at a time by a kernel of its own
LASTING = 0.25  # share of a correction that the longest calls keep
LASTING_MS = 0.05  # calls this long keep the middle between it and all
LEVEL_DOUBT = 0.1  # of a GPU's rates, beside what generations disagree about
OWN_SPREAD = 0.15  # of a GPU's own level of launch, operations and bytes about the common one, in logs


@dataclass(frozen=True)
class Board:
    """What of a GPU these physics rest on, in one number format."""

    sm_count: float
    clock_hz: float
    peak_flops_per_s: float
    half_flops_per_s: float
    bandwidth_bytes_per_s: float
    l2_bytes: float
    power_w: float
    unit: float

    @classmethod
    def of(cls, device: Device, dtype: str) -> Board:
        """`device` in a format; one it has no rate for runs at bf16's."""
        half = device.peak_flops_per_s("bf16", matrix=True)
        peak = max(device.matrix_flops_per_s.get(FORMATS[dtype].rate, 0.0), half)
        unit = float(np.log2(half / device.sm_count / device.clock_hz))
        watts = np.inf if device.power_w is None else device.power_w
        return cls(
            device.sm_count, device.clock_hz, peak, half, device.bandwidth_bytes_per_s, device.l2_bytes, watts,
            unit,
        )  # fmt: skip


def _cold(footprint: Array, held: float, width: float) -> Array:
    """Share of what is used again that has left a cache by then."""
    return np.asarray(1 / (1 + (held / footprint) ** (1 / width)))


def _log2(value: Array, low: float, high: float) -> Array:
    return np.log2(np.clip(value, low, high))


def _narrowing_ms(v: Mapping[str, Array], dtype: str, on: Board, r: Mapping[str, float], held: float) -> Array:
    """The kernel that turns bf16 activations into a narrower format; zero in bf16."""
    if dtype == "bf16":
        return np.zeros_like(v["m"])
    stored, width = FORMATS[dtype], r["cache_width"]
    elements = v["m"] * v["k"]
    after = stored.weight_bytes * v["n"] * v["k"] + 4 * v["m"] * v["n"] + 2 * stored.input_bytes * elements
    moved = (2 + stored.input_bytes) * elements
    cold = _cold(2 * elements + after, held, width)
    from_cache = moved / (on.sm_count * on.clock_hz * r["cached_bytes_per_clock"])
    busy = 1e3 * (cold * moved / (on.bandwidth_bytes_per_s * r["stream"]) + (1 - cold) * from_cache)
    if dtype in _ONE_BY_ONE:
        cycles = np.hypot(r["row_cycles"], r["element_cycles"] * v["k"]) * v["m"] / on.sm_count
        busy = (busy**4 + (1e3 * cycles / on.clock_hz) ** 4) ** 0.25
    return np.asarray(r["narrow_ms"] * (1.9e9 / on.clock_hz) ** 0.5 + busy)


def sustained_share(on: Board, r: Mapping[str, float]) -> float:
    """Of peak, what a long product sustains: all that kernels reach, or what board power allows."""
    allowed = r["flops_per_picojoule"] * 1e12 * 2 ** (r["exponent"] * (on.unit - 10)) * on.power_w
    allowed *= r["narrow_gain"] ** np.log2(on.peak_flops_per_s / on.half_flops_per_s)
    return float((r["peak_share"] ** -6 + (allowed / on.half_flops_per_s) ** -6) ** (-1 / 6))


def cast(v: Mapping[str, Array], dtype: str, on: Board, rates: Array, level: Array | None = None) -> Cast:
    """Products (m, k) x (k, n) at fitted `rates`; `level`: logs of a GPU's own launch, operations and bytes."""
    r = {name: float(x if name in PLAIN_RATES else np.exp(x)) for name, x in zip(RATES, rates, strict=True)}
    m, n, k, stored = v["m"], v["n"], v["k"], FORMATS[dtype]
    own = np.exp(np.zeros(3) if level is None else level)
    milli, flops = 1e3 / on.clock_hz, 2 * m * n * k
    rate = sustained_share(on, r) * on.peak_flops_per_s / on.sm_count / 1e3
    partial, ways = 1 / (1 + np.exp(-r["partial"])), np.zeros_like(m)
    for (rows, columns), share in _TILES.items():
        tiles = np.ceil(m / rows) * np.ceil(n / columns)
        for split in _SPLITS:
            waves = tiles * (split / on.sm_count)
            waves = (1 - partial) * np.ceil(waves) + partial * np.maximum(waves, 1)
            loop = k * (2.0 * rows * columns / split / (rate * (r[share] if share else 1.0)))
            time = waves * (loop + r["wave_cycles"] * milli)
            if split > 1:
                time += r["split_cycles"] * milli + m * n * (4e3 * split / (on.sm_count * on.clock_hz * 20))
            ways += time**-12.0
    compute = own[1] * ways ** (-1 / 12)
    weights, inputs, outputs = n * k * stored.weight_bytes, m * k * stored.input_bytes, 2 * m * n
    copies = _COPIES[dtype] if dtype in _COPIES else np.clip(np.ceil(on.l2_bytes / (n * k)), 1, 5)
    held = r["cache_share"] * on.l2_bytes * (0.5 if on.unit > HALVED_FROM_UNIT else 1.0)
    cold = _cold(copies * weights + inputs + outputs, held, r["cache_width"])
    far = (weights + outputs) * cold + inputs * _cold(weights + inputs + 2 * outputs, held, r["cache_width"])
    moved = weights + inputs + outputs
    near = (moved - far) / (on.sm_count * on.clock_hz * r["cached_bytes_per_clock"])
    memory = 1e3 * (far / (on.bandwidth_bytes_per_s * r["stream"]) + near) + r["memory_ms"] * cold
    memory = own[2] * memory
    fixed = r["launch_ms"] * (1.9e9 / on.clock_hz) ** 0.5 + r["fill_cycles"] * milli * np.minimum(1, k / 2048)
    fixed = own[0] * (fixed + _narrowing_ms(v, dtype, on, r, held))
    power = 1 + r["overlap"]
    base = fixed + (compute**power + memory**power) ** (1 / power)
    floor = 1e3 * flops / on.peak_flops_per_s
    bound = np.where(fixed > compute + memory, 2, np.where(compute > memory, 0, 1))
    cache = on.l2_bytes * (0.5 if on.unit > HALVED_FROM_UNIT else 1.0)
    columns_ = [
        *(_waste(m, n, tile, on.sm_count) for tile in TILES), np.log2(m), np.log2(n), np.log2(k),
        _log2(m * n / (on.sm_count * 16384), 1e-3, 600), _log2(memory / compute, 1e-3, 1e3),
        _log2((compute + memory) / fixed, 1e-2, 1e3), _log2(weights / cache, 1e-3, 1e3),
        _log2((inputs + outputs) / cache, 1e-3, 1e3), _log2(outputs / moved, 1e-3, 1),
    ]  # fmt: skip
    features = np.stack(columns_, axis=1).astype(np.float32)
    roofline = np.maximum(floor, 1e3 * moved / on.bandwidth_bytes_per_s)
    return Cast(features, base, roofline, floor, bound)


def _waste(m: Array, n: Array, tile: tuple[int, int], sm_count: float) -> Array:
    """log2 of results computed over results wanted: whole tiles in whole waves."""
    blocks = np.ceil(np.ceil(m / tile[0]) * np.ceil(n / tile[1]) / sm_count) * sm_count
    return _log2(blocks * tile[0] * tile[1] / (m * n), 1, 256)


def kept(base_ms: Array) -> Array:
    """Share of a correction learned on other generations that a call keeps: all where short, less where long."""
    return np.asarray(LASTING + (1 - LASTING) * LASTING_MS / (base_ms + LASTING_MS))


@dataclass(frozen=True)
class Fold:
    """What some generations' products teach about the others': rates, and a correction for each generation."""

    rates: Array
    experts: Mapping[str, Bounded]
    units: Mapping[str, float]

    def corrections(self, features: Array) -> dict[str, Array]:
        """Each generation's view of the kernels."""
        return {name: expert.correction(features) for name, expert in self.experts.items()}

    def weights(self, unit: float, decay: float) -> dict[str, float]:
        """How much each generation speaks: to 1/e over `decay` doublings of a matrix unit's size; sum one.

        At a decay of zero none does: rates alone are carried over.
        """
        if decay == 0:
            return {}
        raw = {name: float(np.exp(-abs(unit - own) / decay)) for name, own in self.units.items()}
        return {name: weight / sum(raw.values()) for name, weight in raw.items()}

    def latency_ms(self, known: Cast, corrections: Mapping[str, Array], unit: float, decay: float) -> Array:
        """The forecast, never under what operations take at peak."""
        mean = np.zeros(len(known.base_ms))
        for name, weight in self.weights(unit, decay).items():
            mean += weight * corrections[name]
        return np.asarray(np.maximum(known.base_ms * np.exp(kept(known.base_ms) * mean), known.floor_ms))

    def doubt(self, known: Cast, corrections: Mapping[str, Array]) -> Array:
        """What an interval's width goes with: a level, and how far generations disagree, in logs."""
        views = np.stack([corrections[name] for name in self.experts])
        return np.asarray(np.hypot(LEVEL_DOUBT, kept(known.base_ms) * views.std(axis=0)))

    def forecast(
        self, v: Mapping[str, Array], dtype: str, device: Device, decay: float
    ) -> tuple[Cast, Array, Array]:
        """Physics, forecast and doubt of products on a GPU."""
        on = Board.of(device, dtype)
        known = cast(v, dtype, on, self.rates)
        views = self.corrections(known.features)
        return known, self.latency_ms(known, views, on.unit, decay), self.doubt(known, views)

    def record(self) -> dict[str, dict[str, float]]:
        """Plain numbers, for a training record; the experts' arrays are kept beside it."""
        rates = {name: round(float(rate), 5) for name, rate in zip(RATES, self.rates, strict=True)}
        return {"rates": rates, "units": {name: round(unit, 4) for name, unit in self.units.items()}}

    @classmethod
    def of(cls, record: Mapping[str, Mapping[str, float]], experts: Mapping[str, Bounded]) -> Fold:
        """What `record` and the experts' arrays stored."""
        return cls(np.array([float(record["rates"][name]) for name in RATES]), experts, dict(record["units"]))


# ---------------------------------------------------------------- fitting


def fit_rates(
    parts: Sequence[tuple[Mapping[str, Array], Board, Array, Array]], dtype: str, start: Array, back: float
) -> Array:
    """Rates by damped Gauss-Newton on log errors (beyond 5 % absolute), drawn `back` to `start`.

    `parts`: of each GPU the dimensions, the board, measured milliseconds, and weights; these sum to one over all.
    """

    def errors(rates: Array) -> Array:
        return np.concatenate([np.log(cast(v, dtype, on, rates).base_ms / t) for v, on, t, _ in parts])

    weight = np.concatenate([w for *_, w in parts])
    return _gauss_newton(errors, weight, start, back / len(start) / SPREAD**2, 8)


def fit_level(
    v: Mapping[str, Array], dtype: str, on: Board, rates: Array, measured_ms: Array, weight: Array
) -> Array:
    """A GPU's own level of launch, operations and bytes about the common rates, in logs."""

    def errors(level: Array) -> Array:
        return np.log(cast(v, dtype, on, rates, level).base_ms / measured_ms)

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
