"""Inference in number formats below 16 bits: linear layers, experts, weights alone, the cache of keys and values.

A linear layer in a format that products were measured in is forecast by the experts of that format, the kernel
that narrows its activations included, as engines call it. Of experts, and of weights that are stored narrow and
widened as they are read, no such product was measured: the time in 16 bits is scaled by the bytes moved, or by the
peak rates where operations bind it. The low end of that interval is what the hardware allows, the high end that of
16 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.models.workload import Workload
from tilecast.predict.columns import Columns, joined, replaced, some
from tilecast.predict.half_precision import HalfPrecision, half_precision, shipped
from tilecast.predict.physics import narrow
from tilecast.predict.physics.chip import FORMATS, Format, chip
from tilecast.predict.physics.products import narrowing_ms

_ENDS = ("latency_ms", "low_ms", "high_ms")
SCALES = 128  # weights that share a scale of 16 bits, in int4: GPTQ's and AWQ's usual group


def alone(weights: str, rate: str = "bf16") -> Format:
    """Weights stored narrow, widened as they are read; products run at the rate of 16 bits."""
    sizes = {"int8": 1.0, "fp8": 1.0, "int4": 0.5 + 2 / SCALES, "mxfp4": FORMATS["mxfp4"].weight_bytes}
    return Format(sizes[weights], 2.0, rate)


def stored(work: Workload) -> Format:
    """How the weights of layers and the inputs of their products are stored, and whose peak rate these run at."""
    if work.weights:
        return alone(work.weights, work.dtype)
    return FORMATS[work.products or "bf16"]


def check(work: Workload, device: Device) -> None:
    """Refuse a format that the workload or the GPU has no use for, in one line."""
    asked_for = {"--dtype": work.products, "--weight-dtype": work.weights, "--kv-dtype": work.cache}
    asked = next((flag for flag, name in asked_for.items() if name), None)
    if asked is None:
        return
    if work.mode == "training":
        raise InputError(asked, f"{asked_for[asked]} is of inference", "train in bf16")
    if not work.fused or work.attention != "fused":
        raise InputError(asked, f"{asked_for[asked]} is run by engines", "leave --engine and --attention out")
    if work.products and work.weights:
        raise InputError("--weight-dtype", f"{work.products} has weights of its own", "give one of the two")
    if asked != "--dtype" and work.dtype not in ("fp16", "bf16"):
        raise InputError(asked, f"goes with 16 bits, not with {work.dtype}", "ask for --dtype bf16")
    for name in (work.products, work.cache):
        if name:
            device.check_format(FORMATS[name].rate)
    wanted = work.products or work.cache or "bf16"
    if not shipped().covers(device, wanted):
        problem = f"{wanted} was measured on NVIDIA GPUs with matrix units in bf16, which {device.title} is not"
        raise InputError(asked, problem, "ask for fp16")


def experts(
    dtype: str,
    dims: Mapping[str, Array],
    device: Device,
    model: HalfPrecision | None = None,
    without: Collection[str] = (),
) -> dict[str, Array]:
    """A forecast of the experts of a layer; in fp8 never slower than in 16 bits.

    On Hopper those with one scale a tensor were measured (vLLM 0.24) at two to four times the time of bf16, those
    with a scale a block at half of it; measured servers do not run them so slowly. The measured kernel is the
    interval's high end.
    """
    model = model or shipped()
    found = dict(model.forecast("moe", dtype, dims, device, without))
    if dtype in ("fp8", "fp8_block"):
        wide = model.forecast("moe", "bf16", dims, device, without)
        slower = found["latency_ms"] > wide["latency_ms"]
        found |= {name: np.where(slower, wide[name], found[name]) for name in ("latency_ms", "low_ms")}
    return found


def applied(kernels: Columns, forecast: Columns, work: Workload, device: Device, kept: Collection[int]) -> Columns:
    """`forecast` with products, experts and decoding attention in the workload's formats.

    Products with as many outputs as one of `kept` stay in 16 bits: head and router.
    """
    family, linear = kernels["family"], _narrowed(kernels, kept)
    if work.products or work.weights:
        scaled = (family == "bmm") | (linear & (work.products is None))
        forecast = replaced(forecast, scaled, _scaled(kernels, forecast, scaled, stored(work), device))
    if work.products and linear.any():
        measured = shipped().forecast("gemm", work.products, _sizes(kernels, linear), device)
        forecast = replaced(forecast, linear, measured)
    decoding = (family == "attention") & (kernels["m"] == 1)
    if work.cache and decoding.any():
        dtype = np.where(decoding, "fp8", "fp32").astype(object)
        cached = kernels | {"dtype": dtype, "bytes_read": kernels["bytes_read"] // 2}
        forecast = half_precision(cached, forecast, device)
    return forecast


def _narrowed(kernels: Columns, kept: Collection[int]) -> Array:
    """Which kernels are linear layers, but for those of as many outputs as one of `kept`."""
    return np.asarray((kernels["family"] == "linear") & ~np.isin(kernels["n"], list(kept)))


def _sizes(kernels: Columns, rows: Array) -> dict[str, Array]:
    """Dimensions of linear layers, all their rows together."""
    b, m, n, k = (kernels[name][rows].astype(float) for name in "bmnk")
    return {"m": b * m, "n": n, "k": k}


def apart(
    kernels: Columns, forecast: Columns, wide: Columns, work: Workload, device: Device, kept: Collection[int]
) -> tuple[Columns, Columns]:
    """Narrow products as two rows of the same sum: the product alone, and the narrowing of its activations.

    `wide` is the forecast of the same kernels in 16 bits, above which no product alone is.
    """
    linear = _narrowed(kernels, kept)
    if not work.products or not linear.any():
        return kernels, forecast
    part, whole, on = some(kernels, linear), some(forecast, linear), chip(device, work.products)
    sizes = _sizes(kernels, linear)
    spent = narrowing_ms(sizes, work.products, on, shipped().folds[f"gemm/{work.products}"][""].rates)
    found = narrow.alone(whole, some(wide, linear), spent, sizes, work.products, on)
    single = np.minimum(found["latency_ms"], whole["latency_ms"])
    products = replaced(forecast, linear, {"latency_ms": single})
    named = replaced(kernels, linear, {"op": "product alone"})
    every = np.ones(len(single), dtype=bool)
    added = replaced(part, every, {"family": "narrowing", "op": "narrowing of activations", "n": 0})
    bound = np.where(whole["bound"] == "compute", "bandwidth", whole["bound"])
    times = whole | {"latency_ms": whole["latency_ms"] - single, "bound": bound.astype(object)}
    return joined(named, added), joined(products, times)


def _scaled(kernels: Columns, forecast: Columns, rows: Array, into: Format, device: Device) -> dict[str, Any]:
    """The forecast of some products of 16 bits as if their operands had other sizes."""
    sizes = tuple(kernels[name][rows].astype(float) for name in "bmnk")
    wide = some(forecast, rows)
    latency, floor = scaled_ms(sizes, wide["latency_ms"], wide["bound"], into, device)
    return {"latency_ms": latency, "low_ms": np.minimum(floor, latency), "passport": "extrapolated"}


def scaled_ms(
    sizes: tuple[Array, ...], wide_ms: Array, bound: Array, into: Format, device: Device
) -> tuple[Array, Array]:
    """Milliseconds of products b, m, n, k with operands of other sizes than 16 bits, and what hardware allows."""
    b, m, n, k = sizes
    peak, before = (device.peak_flops_per_s(name, matrix=True) for name in (into.rate, "bf16"))
    moved = b * (into.input_bytes * m * k + into.weight_bytes * k * n + 2 * m * n)
    floor = 1e3 * np.maximum(2 * b * m * n * k / peak, moved / device.bandwidth_bytes_per_s)
    share = moved / (2 * b * (m * k + k * n + m * n))
    share = np.maximum(share, np.where(bound == "compute", before / peak, 0.0))
    return np.minimum(np.maximum(wide_ms * share, floor), wide_ms), floor
