"""Experts in host memory: what a cache holds, what a predictor fetches in time, what the step still waits for.

Hit rate and recall are two things: the cache is asked first; of what it misses, the predictor names a part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilecast.base.errors import InputError
from tilecast.moe.routing import Chances


@dataclass(frozen=True)
class Predictor:
    """An expert predictor: share of missed experts it names in time, share of what it names that is needed."""

    recall: float
    precision: float
    lookahead_layers: float = 1.0

    def __post_init__(self) -> None:
        for name in ("recall", "precision"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError("predictor", f"`{name}` = {getattr(self, name):g} is no share", "give 0 to 1")
        if self.recall and not self.precision:
            raise InputError("predictor", "names needed experts, but none it names is needed", "give a precision")
        if not 0 <= self.lookahead_layers < float("inf"):
            raise InputError("predictor", f"looks {self.lookahead_layers:g} layers ahead", "give zero or more")


# Prefetching hides transfers behind computation: with the same cache it gains at most (compute + transfer) /
# max(compute, transfer), which is two where both take as long and nothing is named wrongly.
LARGEST_GAIN = 2.0
ON_DEMAND = Predictor(recall=0.0, precision=1.0)


@dataclass(frozen=True)
class Transfer:
    """What one layer of one step moves from the host, and what of it the step waits for."""

    demanded_bytes: float  # missed and not named in time: the layer waits for all of it
    prefetched_bytes: float  # named in time, needed or not
    wrong_bytes: float  # of these, not needed
    waited_s: float


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


def transfer(missed_bytes: float, compute_s: float, host_bytes_per_s: float, predictor: Predictor) -> Transfer:
    """One layer: `missed_bytes` are needed and not resident, `compute_s` of work can hide what is named in time.

    The link carries one thing at a time. In the steady state each layer's prefetch has one layer's computation to
    hide behind, however far ahead it was named; a predictor that speaks up less than a layer ahead has less.
    """
    named = predictor.recall * missed_bytes
    demanded = missed_bytes - named
    prefetched = named / predictor.precision if named else 0.0
    hidden = min(predictor.lookahead_layers, 1.0) * compute_s
    waited = demanded / host_bytes_per_s + max(0.0, prefetched / host_bytes_per_s - hidden)
    return Transfer(demanded, prefetched, prefetched - named, waited)
