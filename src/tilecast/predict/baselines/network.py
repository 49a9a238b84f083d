"""The baselines' networks, evaluated without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tilecast.base.arrays import Array


def evaluate_network(weights: Mapping[str, Array], inputs: Array) -> Array:
    """The trained network's outputs, in numpy and single precision."""
    x, layers = inputs.astype(np.float32), len(weights) // 2
    for layer in range(layers):
        x = x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        if layer < layers - 1:
            np.maximum(x, 0, out=x)
    return x
