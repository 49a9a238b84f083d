"""Calibrated intervals: how far forecasts lay from measurements a model had not seen, as a ratio.

Split conformal prediction on |log(measured / forecast)|: with n held-out residuals, the ceil((n + 1) x level)-th
smallest is a half-width that holds for a new exchangeable case with probability `level` at least.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
LEVEL = 0.8


def half_width(measured: Array, forecast: Array, level: float = LEVEL, groups: Array | None = None) -> float:
    """Half-width in log ratio that covers `level` of held-out cases.

    With `groups` (one label a case, such as the GPU held out) each group's own half-width is taken and the widest
    returned: cases of one group are not independent, and a new group may be as bad as the worst seen.
    """
    residual = np.abs(np.log(measured / forecast))
    if groups is not None:
        return max(half_width(measured[groups == g], forecast[groups == g], level) for g in np.unique(groups))
    rank = min(len(residual), int(np.ceil((len(residual) + 1) * level)))
    return float(np.sort(residual)[rank - 1])


def interval(latency_ms: Array, half_width: Array, floor_ms: Array) -> tuple[Array, Array]:
    """(low, high) around a forecast; never below what the hardware allows."""
    low = np.maximum(latency_ms * np.exp(-half_width), floor_ms)
    return np.minimum(low, latency_ms), latency_ms * np.exp(half_width)


def coverage(measured: Array, low: Array, high: Array) -> float:
    """Share of measurements inside their interval."""
    return float(np.mean((measured >= low) & (measured <= high)))
