"""The kernel that turns bf16 activations into fp8 with a scale a row, on its own.

launches + (bytes^2 + rows^2)^(1/2), rates fitted on vLLM's kernels of the locked wheel
(`benchmarks/fit_quantize.py`).
"""

from __future__ import annotations

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import Device
from tilecast.predict import interval
from tilecast.predict.kernel import BOUNDS, HALF_PASSPORT
from tilecast.predict.physics.chip import chip

# Launches of the shortest kernel, share of bandwidth, bytes a clock and multiprocessor from L2, cycles a row.
RATES = (1.284, 0.545, 11.34, 283.2)
HALF_WIDTH = 0.36  # of the 80 % interval: the worst of four generations left out
ELEMENT_BYTES = 3  # read in bf16, written in fp8


def quantized(rows: Array, width: Array, device: Device) -> dict[str, Array]:
    """latency_ms, low_ms, high_ms, bound and passport of tensors of `rows` by `width`."""
    on, (launches, stream, cached, row) = chip(device, "bf16"), RATES
    moved = ELEMENT_BYTES * rows * width
    cold = np.clip(1 + np.log2(moved / on.l2_bytes), 0, 1)  # all from L2 below half its size, none above it
    far, near = moved / (on.bandwidth_bytes_per_s * stream), moved / (on.sm_count * on.clock_hz * cached)
    streamed = 1e3 * np.minimum(far, cold * far + (1 - cold) * near)
    fixed = launches * on.launch_ms
    busy = np.hypot(streamed, 1e3 * row * rows / (on.sm_count * on.clock_hz))
    low, high = interval.interval(fixed + busy, np.full(len(rows), HALF_WIDTH), np.zeros(len(rows)))
    bound = BOUNDS[np.where(busy > fixed, 1, 2)]
    passport = np.full(len(rows), HALF_PASSPORT, dtype=object)
    return {"latency_ms": fixed + busy, "low_ms": low, "high_ms": high, "bound": bound, "passport": passport}
