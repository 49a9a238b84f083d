"""Which experts tokens go to: a skewed router, distinct experts touched, load of ranks, dropped tokens.

Experts are numbered from the most to the least popular (Zipf), and dealt to ranks in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilecast.graph.routing import Routing

Chances = NDArray[np.float64]


def chances(experts: int, top_k: int, exponent: float = 0.0) -> Chances:
    """Chance of each expert to be among a token's `top_k`: as 1 / i^exponent, at most 1; they sum to top_k."""
    weights = np.arange(1, experts + 1, dtype=float) ** -exponent
    result = np.zeros(experts)
    certain = 0  # the most popular experts, which every token takes
    while certain < top_k:
        rest = weights[certain:]
        result[certain:] = (top_k - certain) * rest / rest.sum()
        if result[certain] <= 1:
            break
        result[certain] = 1.0
        certain += 1
    return result


def distinct(chance: Chances, tokens: float) -> float:
    """Expected number of different experts that `tokens` independent tokens touch: sum of 1 - (1 - p)^tokens."""
    return float((1 - (1 - chance) ** tokens).sum())


def ranks_touched(ranks: int, top_k: int, experts: int) -> float:
    """Expected ranks among which one token's `top_k` different experts lie, each rank holding the same number."""
    held = experts // ranks
    missed = 1.0  # chance that none of the token's experts lies on one given rank
    for place in range(top_k):
        missed *= max(experts - held - place, 0) / (experts - place)
    return ranks * (1 - missed)


@dataclass(frozen=True)
class Load:
    """Tokens by rank, and what the capacity of experts cut off; assignments = kept + dropped."""

    assignments: int
    kept: int
    dropped: int
    busiest: int  # of the rank that gets most
    mean: float  # of a rank

    @property
    def imbalance(self) -> float:
        """The busiest rank against the mean, which is what a step waits for."""
        return self.busiest / self.mean if self.mean else 1.0


def load(tokens: int, top_k: int, experts: int, ranks: int, routing: Routing) -> Load:
    """How `tokens` times `top_k` assignments fall on `ranks`, experts dealt in turn.

    With fewer assignments than experts only some experts work, and the busiest rank has whole tokens.
    """
    assignments = tokens * top_k
    counts = routing.tokens(assignments, experts)
    of_ranks = [sum(counts[rank::ranks]) for rank in range(ranks)]
    kept = sum(counts)
    return Load(assignments, kept, assignments - kept, max(of_ranks), kept / ranks)
