"""Power that a GPU's board draws while it works, and the energy of a token: from board power and utilisation.

What kernels are bound by decides how much of the board's limit they draw; data/power.yaml has the shares, measured
on one kind of GPU, and their spread. On any other the interval is wide: from the least that any kernel drew to the
limit. Hosts, switches and cooling are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from tilecast.base.documents import read_yaml
from tilecast.base.inputs import Section, validated
from tilecast.base.paths import POWER
from tilecast.hardware.device import Device

ENDS = ("mean", "low", "high")
_AS = {"wave tail": "compute"}  # a bound -> the one whose kernels draw as much


class _Share(Section):
    share: Annotated[float, Field(gt=0, le=1)]
    low: Annotated[float, Field(gt=0, le=1)]
    high: Annotated[float, Field(gt=0, le=1)]
    calls: int
    of: str


class _Power(Section):
    device: str  # the shares were measured on it
    bounds: dict[str, _Share]
    source: str


@lru_cache(maxsize=1)
def _shares() -> _Power:
    return validated(_Power, read_yaml(POWER), POWER, "a share has share, low, high, calls, of")


def source(device: Device) -> str:
    """Where power comes from, in words."""
    limit = device.sources.get("power_w") or device.sources.get("*") or "its device file"
    return f"board power of {device.power_w:g} W ({limit}) times shares by what binds a kernel: {_shares().source}"


def watts(device: Device, spent_ms: Mapping[str, float]) -> dict[str, float] | None:
    """Mean board power over some time, by what bound it (waiting is `latency`); None where no limit is known."""
    total = sum(spent_ms.values())
    if device.power_w is None or not total:
        return None
    known, most = _shares().bounds, device.power_w
    named = [(known[_AS.get(bound, bound)], ms / total) for bound, ms in spent_ms.items()]
    mean, low, high = (
        sum(getattr(share, key) * part for share, part in named) for key in ("share", "low", "high")
    )
    if device.name != _shares().device:
        low, high = min(share.low for share in known.values()), 1.0
    return dict(zip(ENDS, (mean * most, low * most, high * most), strict=True))


def joules_per_token(
    drawn: Mapping[str, float] | None, gpus: int, tokens_per_s: Mapping[str, float]
) -> dict[str, float] | None:
    """Joules of all boards a token; its low end at the lowest power and the highest rate, and so its high end."""
    if drawn is None or not all(tokens_per_s.values()):
        return None
    return {end: gpus * drawn[end] / tokens_per_s[end] for end in ENDS}
