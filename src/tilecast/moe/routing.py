"""Which experts a batch of tokens uses: router chances, load of the busiest GPU, GPUs that one token reaches.

Experts are numbered from the most to the least popular (Zipf), and dealt to the GPUs in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tilecast.graph.routing import Routing

Chances = NDArray[np.float64]


def chances(experts: int, top_k: int, exponent: float = 0.0) -> Chances:
    """Chance of each expert to be among a token's `top_k`: proportional to 1 / i^exponent, at most 1.

    The chances sum to `top_k`.
    """
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


def ranks_touched(ranks: int, top_k: int, experts: int) -> float:
    """Expected ranks among which one token's `top_k` different experts lie, each rank holding the same number."""
    held = experts // ranks
    missed = 1.0  # chance that none of the token's experts lies on one given rank
    for place in range(top_k):
        missed *= max(experts - held - place, 0) / (experts - place)
    return ranks * (1 - missed)


@dataclass(frozen=True)
class Demand:
    """Expected load of the busiest GPU in one layer of one step."""

    assigned: float  # tokens times experts
    distinct: float  # experts that get any token
    imbalance: float  # assignments of the busiest GPU over the mean
    dropped: float  # share of all assignments that exceed the experts' capacity
    asked: Chances  # chance of each of its experts to get any token


def demand(experts: int, top_k: int, ranks: int, tokens: float, routing: Routing) -> Demand:
    """Expected load of the busiest of `ranks` GPUs when `tokens` are decoded together.

    Distinct experts of a GPU: the sum of 1 - (1 - p)^tokens over its experts.
    """
    chance = chances(experts, top_k, routing.exponent)
    loads = tokens * chance
    if routing.capacity is not None:
        loads = np.minimum(loads, routing.capacity * tokens * top_k / experts)
    asked = 1 - (1 - chance) ** tokens
    assigned = [float(loads[rank::ranks].sum()) for rank in range(ranks)]
    distinct = [float(asked[rank::ranks].sum()) for rank in range(ranks)]
    busiest = max(range(ranks), key=lambda rank: (assigned[rank], distinct[rank]))
    kept = sum(assigned)
    return Demand(
        assigned=assigned[busiest],
        distinct=max(distinct),
        imbalance=assigned[busiest] * ranks / kept,
        dropped=1 - kept / (tokens * top_k),
        asked=asked[busiest::ranks],
    )
