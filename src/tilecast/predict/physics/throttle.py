"""How much longer half-precision products take in a training run: a board at its power limit lowers its clock.

The half-precision track learned from vLLM's times. SGLang and TensorRT-LLM timed the same products on the same
boards, and the larger a product, the longer theirs took: a few percent at 0.1 TFLOP, the shares below (medians of
the slowest of the three over vLLM's, products from 2 TFLOP up; tables of aiconfigurator 0.12.0). One library runs
them all; what differs is how long the board rests between two, which is how a power limit shows.
ASSUME: a training run, which never rests, runs its compute-bound products as the slowest of the three did.
Inference is short or bound by memory, and stays as timed.
Of the three, kernel data speak for the slowest: its share is near one where a product is short, grows with its
size and hardly beyond 2 TFLOP (A100: 1.03, 1.15, 1.16, from 5 TFLOP 1.17), as a limit that is reached does; the
middle's still grows there, towards it (1.00, 1.09, 1.11, 1.13). What each gives: results/parallel/sustained.csv.
How far a run is slowed is as uncertain as a GPU's share is from those of the others: see `spread`.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from tilecast.hardware.device import Device
from tilecast.predict.columns import Columns
from tilecast.predict.interval import half_width
from tilecast.predict.kernel import HALF_PASSPORT

SHARE = {
    "NVIDIA_A100-SXM4-80GB": 1.157,
    "NVIDIA_H100_80GB_HBM3": 1.136,
    "NVIDIA_H200": 1.160,
    "NVIDIA_B200": 1.138,
    "NVIDIA_B300": 1.177,
    "NVIDIA_GB200": 1.0,
    "NVIDIA_GB300": 1.087,
    "NVIDIA_L40S": 1.394,
    "NVIDIA_RTX_PRO_6000": 1.084,
}
_ENDS = ("latency_ms", "low_ms", "high_ms")


def spread() -> float:
    """Half-width in log ratio: each GPU's share against the median of the other GPUs', at the intervals' level."""
    others = [median(share for name, share in SHARE.items() if name != left) for left in SHARE]
    return half_width(np.array(list(SHARE.values())), np.array(others))


def sustained(kernels: Columns, forecast: Columns, device: Device, mode: str) -> Columns:
    """Forecast of a model's kernels in a run of `mode`: slower in training, by the median if nobody timed it."""
    if mode != "training":
        return forecast
    share = SHARE.get(device.name, median(SHARE.values()))
    slowed = kernels["family"] == "linear"
    slowed &= (forecast["passport"] == HALF_PASSPORT) & (forecast["bound"] == "compute")
    middle, low, high = (forecast[name].astype(float) for name in _ENDS)
    # A product's own error and the run's are independent: the squares of their logarithms add.
    own = [np.log(middle[slowed] / low[slowed]), np.log(high[slowed] / middle[slowed])]
    below, above = (np.exp(np.hypot(part, spread())) for part in own)
    middle[slowed] *= share
    low[slowed], high[slowed] = middle[slowed] / below, middle[slowed] * above
    return forecast | dict(zip(_ENDS, (middle, low, high), strict=True))
