"""A board that nobody described is never forecast slower than a described one it is at least as good as.

Forecasts of a board nobody measured are borrowed from those like it, and whom it is like changes with its figures:
by itself nothing keeps a better board from being forecast slower. So the forecast of a board that is none of
data/devices is the least of its own and of those of all boards there that it equals or surpasses in every figure.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tilecast.hardware.device import Device
from tilecast.predict.columns import Columns

_FIGURES = ("sm_count", "cores_per_sm", "clock_hz", "bandwidth_bytes_per_s", "l2_bytes")
_RATES = ("vector_flops_per_s", "matrix_flops_per_s")


def at_least_as_good(one: Device, other: Device) -> bool:
    """Whether `one` equals or surpasses `other` in every figure forecasts depend on; no power stated: no limit."""
    watts = [np.inf if device.power_w is None else device.power_w for device in (one, other)]
    rates = (
        (getattr(one, kind).get(name, 0.0), rate) for kind in _RATES for name, rate in getattr(other, kind).items()
    )
    figures = ((getattr(one, name), getattr(other, name)) for name in _FIGURES)
    return one.vendor == other.vendor and all(mine >= its for mine, its in (watts, *figures, *rates))


@lru_cache(maxsize=1)
def _described() -> tuple[Device, ...]:
    try:
        from tilecast.hardware.device_file import devices
    except ImportError:  # a borrowed host without pydantic, which measures boards and describes none
        return ()
    return tuple(devices().values())


def surpassed(device: Device) -> list[Device]:
    """The described boards that a device is at least as good as; none where it is one of them."""
    if any(device.name == one.name and at_least_as_good(one, device) for one in _described()):
        return []
    return [one for one in _described() if at_least_as_good(device, one)]


def least(forecast: Columns, other: Columns) -> Columns:
    """The forecast, or the other's time where that is less, with the forecast's own width of the interval."""
    ours, theirs = forecast["latency_ms"], other["latency_ms"]
    latency = np.minimum(ours, theirs)
    return forecast | {
        "latency_ms": latency,
        "low_ms": np.minimum(forecast["low_ms"], latency),
        "high_ms": forecast["high_ms"] * latency / ours,
        "bound": np.where(theirs < ours, other["bound"], forecast["bound"]),
    }
