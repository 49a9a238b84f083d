"""A GPU's rates in one number format, and the formulas that all kernel physics share.

A kernel's time is `base x exp(correction)`: `base` is what launch, operations and bytes cost at the rates the GPU
sustains; the correction is learned from ratios that mean the same on every GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import Device


class Format(NamedTuple):
    """How operands of a product are stored, and the format whose peak rate their products run at."""

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
PEAK_SHARE = 0.92  # of peak, that matrix units reach where power allows
# What board power allows: FLOP/s per watt of bf16 products on units of 2^10 operations a clock and multiprocessor,
# and how that grows with the unit: a larger one uses an operand more often, so an operation costs less energy.
FLOPS_PER_JOULE, UNIT_EXPONENT = 0.8e12, 0.4
# Generations by the number formats of their matrix units, with the board power per fp32 TFLOP/s of that
# generation's largest consumer card (GTX 1080, RTX 2080 Ti, RTX 3090, RTX 4090: makers' specifications): what
# running every lane at full clock takes. A board that grants less lowers its clock under a long matrix product.
WATTS_PER_TFLOPS = (20.3, 18.6, 9.8, 5.45)
PASCAL, VOLTA, AMPERE, ADA = range(4)
# ASSUME: a kernel tile of 8 x 8 results a thread loads 16 values from shared memory for 64 multiply-adds; with
# 128 lanes a multiprocessor those loads take about as long as the arithmetic, and published SGEMM rates of such
# GPUs (H100, RTX 3090) stay near 0.76 of peak where 64-lane ones (A100, V100) reach 0.9.
WIDE_LANES, WIDE_SHARE = 128, 0.85
# ASSUME: matrix units (tensor cores) reach this share of their dense peak where fp32 lanes reach all of theirs.
MATRIX_UNIT_SHARE = 0.7
# Generation and board power of devices of the artifact, whose own files give neither power nor number formats.
KNOWN = {
    "NVIDIA_H100_80GB_HBM3": (ADA, 700.0),
    "NVIDIA_L4": (ADA, 72.0),
    "NVIDIA_A100_80GB_PCIe": (AMPERE, 300.0),
    "NVIDIA_A100-PCIE-40GB": (AMPERE, 250.0),
    "NVIDIA_A100-SXM4-40GB": (AMPERE, 400.0),
    "Tesla_V100-PCIE-32GB": (VOLTA, 250.0),
    "Tesla_T4": (VOLTA, 70.0),
    "Tesla_P100-PCIE-16GB": (PASCAL, 250.0),
    "Tesla_P4": (PASCAL, 75.0),
}


@dataclass(frozen=True)
class Chip:
    """A GPU in one number format, with the rate of matrix products that its power lets it sustain."""

    name: str
    sm_count: float
    lanes: float  # fp32 lanes of a multiprocessor
    generation: float  # index of WATTS_PER_TFLOPS
    peak_flops_per_s: float  # of matrix products, by specification: no forecast lies above it
    sustained_flops_per_s: float  # of a long matrix product
    bandwidth_bytes_per_s: float
    l2_bytes: float
    clock_hz: float = nan  # this and the rest: half precision only
    half_flops_per_s: float = nan  # peak of bf16 products
    unit: float = nan  # size of a matrix unit: log2 of bf16 operations a clock and multiprocessor
    power_w: float = inf  # inf where it is not known

    @property
    def launch_ms(self) -> float:
        """Milliseconds of the shortest kernel."""
        return LAUNCH_MS * (LAUNCH_CLOCK_HZ / self.clock_hz) ** 0.5

    def record(self) -> dict[str, float]:
        """The numbers that a training in single precision stores of its GPUs."""
        return {key: getattr(self, name) for key, name in _STORED.items()}

    @classmethod
    def of_record(cls, name: str, record: Mapping[str, float]) -> Chip:
        """A training GPU as `record` stored it."""
        return cls(name, **{field: record[key] for key, field in _STORED.items()})


# Key of a training record -> field of Chip.
_STORED = {name: name for name in ("sm_count", "lanes", "generation", "bandwidth_bytes_per_s", "l2_bytes")}
_STORED |= {"flops_per_s": "sustained_flops_per_s", "peak_flops_per_s": "peak_flops_per_s"}


def power_limited_share(
    on: Chip, flops_per_joule: float, exponent: float, reached: float, gain: float = 1.0
) -> float:
    """Share of peak that a long matrix product sustains: what kernels reach, or what board power allows, if less.

    share = (reached^-6 + allowed^-6)^(-1/6)
    allowed = flops_per_joule 2^(exponent (unit - 10)) power_w gain / half_flops_per_s
    This project's own law, fitted on GPUs from Ampere to Blackwell.
    """
    allowed = flops_per_joule * 2 ** (exponent * (on.unit - 10)) * on.power_w * gain
    return float((reached**-6 + (allowed / on.half_flops_per_s) ** -6) ** (-1 / 6))


def chip(device: Device, dtype: str) -> Chip:
    """A GPU in a format of FORMATS; one it has no rate for runs at bf16's, stored narrow and computed wide."""
    half = device.peak_flops_per_s("bf16", matrix=True)
    peak = max(device.matrix_flops_per_s.get(FORMATS[dtype].rate, 0.0), half)
    on = _at_peak(device, peak, *generation_and_power(device))
    on = replace(on, power_w=inf if device.power_w is None else device.power_w)
    share = PEAK_SHARE
    if device.power_w is not None:
        share = power_limited_share(on, FLOPS_PER_JOULE, UNIT_EXPONENT, PEAK_SHARE)
    return replace(on, sustained_flops_per_s=share * peak)


def single_chip(device: Device, dtype: str = "fp32") -> Chip:
    """A GPU for the physics of single precision, whose power and lanes let a long product keep a share of peak."""
    generation, power_w = generation_and_power(device)
    fp32, peak = device.vector_flops_per_s["fp32"], device.peak_flops_per_s(dtype, matrix=True)
    share = 1.0
    if device.vendor == "NVIDIA":
        if power_w is not None:
            share = min(1.0, power_w / (fp32 / 1e12) / WATTS_PER_TFLOPS[generation])
        if device.cores_per_sm >= WIDE_LANES and generation >= AMPERE:
            share = min(share, WIDE_SHARE)
    if peak > 1.01 * fp32:
        share *= MATRIX_UNIT_SHARE
    return replace(_at_peak(device, peak, generation, power_w), sustained_flops_per_s=share * peak)


def _at_peak(device: Device, peak_flops_per_s: float, generation: int, power_w: float | None) -> Chip:
    half = device.peak_flops_per_s("bf16", matrix=True)
    return Chip(
        name=device.name,
        sm_count=device.sm_count,
        lanes=device.cores_per_sm,
        generation=generation,
        peak_flops_per_s=peak_flops_per_s,
        sustained_flops_per_s=peak_flops_per_s,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        l2_bytes=device.l2_bytes,
        clock_hz=device.clock_hz,
        half_flops_per_s=half,
        unit=float(np.log2(half / device.sm_count / device.clock_hz)),
        power_w=inf if power_w is None else power_w,
    )


def generation_and_power(device: Device) -> tuple[int, float | None]:
    """The generation (index of WATTS_PER_TFLOPS) and board power of a device: from its file, else by its name."""
    formats, known = device.matrix_flops_per_s, KNOWN.get(device.name)
    if known and not (device.power_w and formats):
        return known[0], device.power_w or known[1]
    if device.vendor != "NVIDIA":
        return AMPERE, device.power_w
    if "fp8" in formats:
        return ADA, device.power_w
    if "bf16" in formats or "tf32" in formats:
        return AMPERE, device.power_w
    if formats:
        return VOLTA, device.power_w
    if device.l2_bytes / device.sm_count > 2e5:  # no formats given: large caches came with Ampere
        return (ADA if device.cores_per_sm >= WIDE_LANES else AMPERE), device.power_w
    return PASCAL, device.power_w


class Estimate(NamedTuple):
    """What physics say of kernels before a learned correction."""

    features: Array  # (rows, features), single precision
    base_ms: Array
    roofline_ms: Array  # operations at peak rate or bytes at peak bandwidth, whichever takes longer
    floor_ms: Array  # operations at peak rate: bytes may come from the cache
    bound: Array  # index of BOUNDS: 0 compute, 1 bandwidth, 2 latency


def estimate(
    columns: Sequence[Array], fixed: Array, compute: Array, memory: Array, flops: Array, moved: Array, on: Chip,
    base_ms: Array | None = None,
) -> Estimate:  # fmt: skip
    """Kernels of `flops` and `moved` bytes that take `fixed`, `compute` and `memory` milliseconds, added up.

    `base_ms`: where these overlap, the time they take together.
    """
    bound = np.where(fixed > compute + memory, 2, np.where(compute > memory, 0, 1))
    features = np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float32)
    floor = 1e3 * flops / on.peak_flops_per_s
    roofline = np.maximum(floor, 1e3 * moved / on.bandwidth_bytes_per_s)
    return Estimate(features, fixed + compute + memory if base_ms is None else base_ms, roofline, floor, bound)


def log2_within(value: Array, low: float, high: float) -> Array:
    """log2 of a value held between two limits."""
    return np.log2(np.clip(value, low, high))


def tile_waste(
    rows: Array, columns: Array, tiles: Iterable[tuple[int, int]], on: Chip, groups: Array | float = 1.0,
    most: float = 256,
) -> list[Array]:  # fmt: skip
    """log2 of results computed over results wanted, for each (rows, columns) tile a library might choose.

    computed = ceil(blocks / multiprocessors) multiprocessors tile: whole tiles in whole waves, as in NeuSight
    (Lee et al., ASPLOS 2025, section 4); `groups` independent products.
    """
    wanted = groups * rows * columns
    found = []
    for high, wide in tiles:
        blocks = groups * np.ceil(rows / high) * np.ceil(columns / wide)
        computed = np.ceil(blocks / on.sm_count) * on.sm_count * high * wide
        found.append(log2_within(computed / wanted, 1, most))
    return found
