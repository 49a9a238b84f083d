"""Calibrated intervals: how far forecasts lay from measurements a model had not seen, as a ratio.

Split conformal prediction on |log(measured / forecast)|: with n held-out residuals, the ceil((n + 1) x level)-th
smallest is a half-width that holds for a new exchangeable case with probability `level` at least.
"""

from __future__ import annotations

import numpy as np

from tilecast.base.arrays import Array

LEVEL = 0.8


def half_width(measured: Array, forecast: Array, level: float = LEVEL) -> float:
    """Half-width in log ratio that covers `level` of held-out cases."""
    residual = np.abs(np.log(measured / forecast))
    rank = min(len(residual), int(np.ceil((len(residual) + 1) * level)))
    return float(np.sort(residual)[rank - 1])


def interval(latency_ms: Array, half_width: Array, floor_ms: Array) -> tuple[Array, Array]:
    """(low, high) around a forecast; never below what the hardware allows."""
    low = np.maximum(latency_ms * np.exp(-half_width), floor_ms)
    return np.minimum(low, latency_ms), latency_ms * np.exp(half_width)


def total(latency_ms: Array, low_ms: Array, high_ms: Array, family: Array) -> tuple[float, float, float]:
    """(latency, low, high) of a sum of kernels, each as often listed as it runs.

    Errors of one family add, those of different families are independent (their squares add): left-out GPUs show
    that kernels do not err independently, and that families do not err alike.
    """
    names, index = np.unique(family.astype(str), return_inverse=True)
    below, above = (
        np.sqrt(np.sum(np.bincount(index, part, len(names)) ** 2))
        for part in (latency_ms - low_ms, high_ms - latency_ms)
    )
    middle = float(latency_ms.sum())
    return middle, float(middle - below), float(middle + above)
