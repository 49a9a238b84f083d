"""Experts in host memory: cache hit rate, and how long a layer waits for experts that are not on the GPU.

The cache is asked first. Of the experts it misses, the predictor names a part in time (its recall).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilecast.moe.routing import Chances


@dataclass(frozen=True)
class Predictor:
    """An expert predictor: share of missed experts it names in time, share of those it names that are needed."""

    recall: float
    precision: float
    lookahead_layers: float = 1.0


# Prefetching hides transfers behind computation: with the same cache it gains at most (compute + transfer) /
# max(compute, transfer), which is two where both take as long and nothing is named wrongly.
LARGEST_GAIN = 2.0
ON_DEMAND = Predictor(recall=0.0, precision=1.0)


def lru_hit_rate(chance: Chances, slots: float) -> float:
    """Share of expert requests that an LRU cache of `slots` experts answers (Che's approximation).

    `chance`: of each expert to be requested in a step, steps independent of each other.
    """
    asked = chance[chance > 0]
    if slots <= 0 or not len(asked):
        return 0.0
    if slots >= len(asked):
        return 1.0
    # An expert is still there if it was asked for within the time in which `slots` different ones were.
    silent = np.log1p(-np.minimum(asked, 1 - 1e-15))
    low, high = -60.0, 60.0  # of its logarithm
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - np.exp(silent * np.exp(middle))).sum() < slots else (low, middle)
    return float((asked * (1 - np.exp(silent * np.exp(high)))).sum() / asked.sum())


def waiting_s(missed_bytes: float, compute_s: float, host_bytes_per_s: float, predictor: Predictor) -> float:
    """Seconds one layer waits for `missed_bytes` of experts that are needed and not on the GPU.

    (missed - named) / rate + max(0, named / precision / rate - hidden), with named = recall * missed. The link
    carries one thing at a time: in the steady state each layer's prefetch can hide behind one layer's computation
    (`compute_s`), however far ahead it was named; behind less if it is named less than a layer ahead.
    """
    named = predictor.recall * missed_bytes
    prefetched = named / predictor.precision if named else 0.0
    hidden = min(predictor.lookahead_layers, 1.0) * compute_s
    return (missed_bytes - named) / host_bytes_per_s + max(0.0, prefetched / host_bytes_per_s - hidden)
