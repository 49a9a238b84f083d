"""The physics a matrix product or a vector kernel is described by, free of units: what transfers between GPUs.

A kernel's time is `base x exp(correction)`: `base` is what its operations and bytes cost at the rates the device
sustains; the correction is learned from ratios that mean the same on every GPU: how much of the last wave of
tiles is wasted, how many waves there are, bytes against operations, bytes against the L2 cache.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tilecast.hardware.device import Device

Array = np.ndarray[Any, np.dtype[Any]]

LEARNED = ("linear", "bmm", "elementwise", "softmax", "norm")
# Output tiles (columns, rows) of the fp32 kernels libraries choose from, as measured kernels' names give them.
TILES = ((128, 128), (128, 64), (64, 64), (32, 128), (128, 32), (32, 32))
OPS = ("add", "addu", "mul", "mulu", "div", "divu", "pow", "powu", "tanh", "gelu", "relu")  # first: the reference
# Dimensions outside what was measured say nothing more about the library's choice of kernel: they are held here.
RANGES = {
    "linear": {"b": (1, 1), "m": (16, 8192), "n": (16, 60000), "k": (16, 60000)},
    "bmm": {"b": (1, 1000), "m": (16, 1000), "n": (8, 1000), "k": (8, 1000)},
}
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
# The twelve devices of the artifact, whose own files give neither power nor number formats.
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
class Rates:
    """What a device sustains in one number format, and what the library's choice of kernels depends on."""

    sm_count: float
    lanes: float
    flops_per_s: float  # of matrix products, sustained
    peak_flops_per_s: float  # by specification: no forecast lies above it
    bandwidth_bytes_per_s: float
    l2_bytes: float
    generation: float

    def record(self) -> dict[str, float]:
        """Plain numbers, for a training record."""
        return asdict(self)


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


def rates(device: Device, dtype: str = "fp32") -> Rates:
    """Rates of `device` in `dtype`: peaks times what power and lanes let a long matrix product keep."""
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
    return Rates(
        device.sm_count, device.cores_per_sm, share * peak, peak,
        device.bandwidth_bytes_per_s, device.l2_bytes, generation,
    )  # fmt: skip


def matrix_features(family: str, dims: dict[str, Array], on: Rates, size: Array | float) -> tuple[Array, Array]:
    """(rows, features) and base milliseconds of matrix products b x (m, k) x (k, n), elements of `size` bytes."""
    b, m, n, k = (dims[name] for name in "bmnk")
    outputs = b * m * n
    compute = 2 * outputs * k / on.flops_per_s
    moved = size * (b * (m * k + k * n) + outputs)
    memory = moved / on.bandwidth_bytes_per_s
    names = "mnk" if family == "linear" else "mnkb"
    columns = [np.log2(np.clip(dims[name], *RANGES[family][name])) for name in names]
    for columns_of_tile, rows_of_tile in TILES:
        blocks = b * np.ceil(n / columns_of_tile) * np.ceil(m / rows_of_tile)
        rounded = np.ceil(blocks / on.sm_count) * (on.sm_count * columns_of_tile * rows_of_tile)
        columns.append(np.log2(np.minimum(rounded / outputs, 64)))  # waste: whole tiles in whole waves
    columns.append(np.log2(np.clip(outputs / (on.sm_count * 8192), 0.01, 600)))  # waves
    columns.append(np.log2(memory / compute))
    columns.append(np.log2(np.clip(moved / (b * on.l2_bytes), 1e-3, 1e3)))
    # Rows that begin off a 16- or 32-byte boundary cost narrower loads and straddled cache sectors.
    columns += [(k % 4 == 0).astype(float), (k % 8 == 0).astype(float), (n % 8 == 0).astype(float)]
    return np.stack(columns, axis=1).astype(np.float32), 1e3 * (compute + memory)


def vector_features(
    family: str, dims: dict[str, Array], moved: Array, op: Array, on: Rates
) -> tuple[Array, Array]:
    """(rows, features) and base milliseconds of vector kernels of b rows of m elements that move `moved` bytes.

    `op` holds indices into OPS.
    """
    columns = [
        np.log2(np.clip(moved / on.sm_count, 1e2, 1e7)),
        np.log2(np.clip(moved / on.l2_bytes, 1e-3, 60)),
    ]
    if family == "elementwise":
        columns += [(op == index).astype(float) for index in range(1, len(OPS))]
    else:
        b, m = dims["b"], dims["m"]
        columns += [np.log2(np.clip(b, 64, 16000)), np.log2(np.clip(m, 32, 4096))]
        columns += [(m <= 1024).astype(float), (m % 4 == 0).astype(float)]  # softmax in registers; wide loads
    return np.stack(columns, axis=1).astype(np.float32), 1e3 * moved / on.bandwidth_bytes_per_s
