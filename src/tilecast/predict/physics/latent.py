"""Latent attention (DeepSeek's MLA): a prompt's, with keys and values written out, and decoding on latents.

launches + (operations^3 + bytes^3)^(1/3), rates fitted on TensorRT-LLM's kernels of the locked wheel
(`benchmarks/fit_latent.py`): decoding on Hopper and Blackwell, whose matrix units its kernels are made for;
prompts on nine GPUs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.predict.physics.chip import FORMATS, Chip, Estimate, estimate
from tilecast.predict.physics.half import CACHED_BYTES_PER_CLOCK, WARM_ATTENTION

TILE = 128  # queries that a block of a prompt's attention works on
SPLIT = 64  # keys of a split of a decoding step


class LatentRates(NamedTuple):
    """Fitted rates of one family, and the half-width of its 80 % interval on generations left out."""

    launches: float  # in launches of the shortest kernel
    stream: float  # share of bandwidth
    compute: float  # share of what long products sustain
    more: float  # decoding: microseconds for each doubling of splits; prompts: share of a last wave that is paid
    half_width: float


RATES = {
    "latent_decode": LatentRates(5.77, 0.746, 1.055, 0.631, 0.377),
    "latent_prefill": LatentRates(8.16, 0.518, 0.600, 0.349, 0.277),
}
# GPUs with smaller matrix units (log2 operations a clock and multiprocessor: A100 11, L40S and RTX PRO 6000 10)
# run other kernels: decoding there is off by this, 80 % of rows within.
UNIT_FROM, FOREIGN_HALF_WIDTH = 11.5, 1.87


def _memory_ms(moved: Array, stream: float, on: Chip) -> Array:
    """Milliseconds to move bytes, from L2 where they fit well: the benchmark reads the same cache again."""
    cold = np.clip(np.log2(moved / on.l2_bytes / WARM_ATTENTION[0]), 0, 1)
    far, near = (
        moved / (on.bandwidth_bytes_per_s * stream),
        moved / (on.sm_count * on.clock_hz * CACHED_BYTES_PER_CLOCK),
    )
    return np.asarray(1e3 * np.minimum(far, cold * far + (1 - cold) * near))


def physics(family: str, v: Mapping[str, Array], dtype: str, on: Chip) -> Estimate:
    """Attention of `heads` queries a token: of prompts of `tokens`, or of one token each after `context`.

    Keys are `width` wide, values `value`; in decoding values are columns of the keys, and all heads share them.
    """
    r, size = RATES[family], FORMATS[dtype].weight_bytes
    b, h, width = v["batch"], v["heads"], v["width"] + v["value"]
    fixed = np.full(len(b), r.launches * on.launch_ms)
    if family == "latent_decode":
        keys = v["context"]
        flops = 2 * b * h * keys * width
        moved = size * b * keys * v["width"] + 2 * b * h * width
        waves: Array | float = 1.0
        fixed = fixed + r.more * 1e-3 * np.log2(1 + keys / SPLIT)
    else:
        tokens = v["tokens"]
        flops = b * h * tokens * (tokens + TILE) * width
        moved = 4 * b * tokens * h * width
        blocks = b * h * np.ceil(tokens / TILE)
        waves = 1 + r.more * (np.ceil(blocks / on.sm_count) * on.sm_count / blocks - 1)
    compute = waves * 1e3 * flops / (on.sustained_flops_per_s * r.compute)
    memory = _memory_ms(moved, r.stream, on)
    base = fixed + (compute**3 + memory**3) ** (1 / 3)
    return estimate([fixed], fixed, compute, memory, flops, moved, on, base)
