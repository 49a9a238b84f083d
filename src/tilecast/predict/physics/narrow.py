"""A product of narrow operands without the kernel that narrows its activations, which its measured times contain.

The tables time a product as an engine calls it, from bf16 activations. The product alone is that less what the
fitted rates of products say the narrowing takes; it is never forecast above the same product in bf16, whose
operands are larger, nor below the peak rate and bandwidth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.predict.physics.chip import FORMATS, Chip

NARROWED = ("fp8", "fp8_block", "nvfp4")  # formats whose activations are narrow too


def alone(
    whole: Mapping[str, Any],
    wide: Mapping[str, Any],
    narrowing_ms: Array,
    dims: Mapping[str, Array],
    dtype: str,
    on: Chip,
) -> dict[str, Any]:
    """The forecast of products alone, from that of products with narrowing and that of the same in bf16.

    Where bf16's time is taken, the low end is what peak rate and bandwidth allow: nothing better is known.
    """
    m, n, k, stored = dims["m"], dims["n"], dims["k"], FORMATS[dtype]
    moved = stored.input_bytes * m * k + stored.weight_bytes * n * k + FORMATS["bf16"].input_bytes * m * n
    floor = 1e3 * np.maximum(2 * m * n * k / on.peak_flops_per_s, moved / on.bandwidth_bytes_per_s)
    share = 1 - np.clip(narrowing_ms / whole["latency_ms"], 0, 1)
    latency, low, high = (np.maximum(whole[end] * share, floor) for end in ("latency_ms", "low_ms", "high_ms"))
    capped = np.minimum(latency, wide["latency_ms"])
    low = np.where(latency > capped, np.minimum(floor, capped), np.minimum(low, capped))
    high = np.where(latency <= floor, wide["latency_ms"], high)  # more was taken away than can be: not known
    return {**whole, "latency_ms": capped, "low_ms": low, "high_ms": np.maximum(high, capped)}
