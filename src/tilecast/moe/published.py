"""The original study's arithmetic, recovered from its output: it moves expert weights for every token.

For a token of a replica of P GPUs, t_comp = 1 / rate and t_comm = k * expert bytes * (P - 1) / P / bandwidth;
with r = t_comm / t_comp and R replicas, baseline = R * rate / (1 + r) and
Prophet = R * gain * rate / (1 + r * (1 - accuracy)). It is kept as published, although physics differs:
its experts never need to fit into memory, and its bandwidth counts both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilecast.moe.placement import Spread
from tilecast.moe.study import Published


@dataclass(frozen=True)
class Outcome:
    """One strategy on one system, without and with the prefetcher ("Prophet")."""

    baseline_tokens_per_s: float
    prophet_tokens_per_s: float
    baseline_communication: float  # share of a token's time
    prophet_communication: float
    communicated_bytes: float  # a token, without the prefetcher
    communication_reduction: float  # of the time communicated per token; 1 where nothing is sent


def outcome(inputs: Published, spread: Spread, bandwidth_bytes_per_s: float) -> Outcome:
    """The original's figures for one division of the GPUs."""
    moved = inputs.experts_per_token * inputs.expert_bytes * (spread.expert - 1) / spread.expert
    ratio = moved / bandwidth_bytes_per_s * inputs.baseline_tokens_per_s
    left = ratio * (1 - inputs.accuracy)
    rate = spread.replicas * inputs.baseline_tokens_per_s
    return Outcome(
        baseline_tokens_per_s=rate / (1 + ratio),
        prophet_tokens_per_s=rate * inputs.prophet_gain / (1 + left),
        baseline_communication=ratio / (1 + ratio),
        prophet_communication=left / (1 + left),
        communicated_bytes=moved,
        communication_reduction=ratio / left if left else 1.0,
    )
