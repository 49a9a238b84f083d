"""The original study's arithmetic, recovered from its output: it moves expert weights for every token.

For a token of a replica of P GPUs, t_comp = 1 / rate and t_comm = k * expert bytes * (P - 1) / P / bandwidth;
with r = t_comm / t_comp and R replicas, baseline = R * rate / (1 + r) and
Prophet = R * gain * rate / (1 + r * (1 - accuracy)). It is kept as published, although physics differs:
its experts never need to fit into memory, and its bandwidth counts both directions.
"""

from __future__ import annotations

from tilecast.moe.placement import Spread
from tilecast.moe.study import Published


def published_rates(inputs: Published, spread: Spread, bandwidth_bytes_per_s: float) -> dict[str, float]:
    """The original's figures for one division of the GPUs, by columns of `moe_systems`."""
    moved = inputs.experts_per_token * inputs.expert_bytes * (spread.expert - 1) / spread.expert
    ratio = moved / bandwidth_bytes_per_s * inputs.baseline_tokens_per_s
    left = ratio * (1 - inputs.accuracy)
    rate = spread.replicas * inputs.baseline_tokens_per_s
    base, prophet = rate / (1 + ratio), rate * inputs.prophet_gain / (1 + left)
    return {
        "baseline_tokens_per_s": base,
        "prophet_tokens_per_s": prophet,
        "baseline_communication_percent": 100 * (ratio / (1 + ratio)),
        "prophet_communication_percent": 100 * (left / (1 + left)),
        "communicated_bytes_per_token": moved,
        "communication_reduction": ratio / left if left else 1.0,
        "baseline_efficiency_percent": 100 * base / (spread.gpus * inputs.baseline_tokens_per_s),
        "prophet_efficiency_percent": 100 * prophet / (spread.gpus * inputs.prophet_tokens_per_s),
    }
