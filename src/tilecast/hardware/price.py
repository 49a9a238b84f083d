"""What a system costs: dollars and kilowatt-hours of its time, from dated list prices of whole clusters.

data/prices.yaml holds the prices. A cluster is the smallest set of GPUs one can rent, and whole ones are paid:
ceil(GPUs / cluster). Energy is an estimate from above: every GPU at its board's power limit all the time.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tilecast.base.documents import read_yaml, shown
from tilecast.base.errors import InputError
from tilecast.base.inputs import Count, Positive, Section, validated
from tilecast.base.paths import PRICES
from tilecast.hardware.device import Device

KINDS = ("on_demand", "reserved")
HOUR_MS = 3.6e6


@dataclass(frozen=True)
class Figure:
    """A number with its date and source."""

    value: float
    date: str
    source: str


@dataclass(frozen=True)
class Offer:
    """A cluster one can rent; `reserved` is None where no price is known."""

    device: str
    name: str
    gpus: int
    on_demand: Figure  # dollars per hour of one cluster
    reserved: Figure | None


@dataclass(frozen=True)
class Prices:
    """Everything data/prices.yaml says."""

    offers: tuple[Offer, ...]
    host_w_per_gpu: Figure
    site_factor: Figure

    def offer(self, device: str) -> Offer | None:
        """The offer whose GPU-hour costs least on demand; None where none has this device."""
        known = [offer for offer in self.offers if offer.device == device]
        return min(known, key=lambda offer: offer.on_demand.value / offer.gpus) if known else None


@dataclass(frozen=True)
class Bill:
    """What some time on some GPUs costs; None where no price is known."""

    clusters: int | None
    on_demand_usd: float | None
    reserved_usd: float | None
    energy_kwh: float | None


class _Dated(Section):
    date: datetime.date
    source: str


class _Value(_Dated):
    value: Positive


class _Rent(_Dated):
    usd_per_hour: Annotated[Positive, Field(lt=1e7)]


class _Offer(Section):
    device: str
    offer: str
    gpus: Count
    on_demand: _Rent
    reserved: _Rent | None = None


class _Energy(Section):
    host_w_per_gpu: _Value
    site_factor: _Value


class _File(Section):
    prices: list[_Offer]
    energy: _Energy
    sources: dict[str, str]


def load_prices(path: str | Path = PRICES) -> Prices:
    """Read and check a price file; InputError on a price without a date or a source."""
    file = validated(
        _File, read_yaml(path, "name a price file"), path, "write {NUMBER, date: YYYY-MM-DD, source: NAME}"
    )

    def figure(given: _Value | _Rent) -> Figure:
        if given.source not in file.sources:
            raise InputError(path, f"source {shown(given.source)} is not among `sources`")
        value = given.value if isinstance(given, _Value) else given.usd_per_hour
        return Figure(value, given.date.isoformat(), file.sources[given.source])

    return Prices(
        tuple(
            Offer(
                one.device,
                one.offer,
                one.gpus,
                figure(one.on_demand),
                figure(one.reserved) if one.reserved else None,
            )
            for one in file.prices
        ),
        host_w_per_gpu=figure(file.energy.host_w_per_gpu),
        site_factor=figure(file.energy.site_factor),
    )


def bill(prices: Prices, device: Device, gpus: int, hours: float) -> Bill:
    """Dollars and energy of `hours` on `gpus`; whole clusters are paid, only the GPUs used draw power."""
    kwh = None
    if device.power_w is not None:
        watts = device.power_w + prices.host_w_per_gpu.value
        kwh = gpus * watts * prices.site_factor.value * hours / 1e3
    offer = prices.offer(device.name)
    if offer is None:
        return Bill(None, None, None, kwh)
    clusters = math.ceil(gpus / offer.gpus)
    reserved = offer.reserved.value * clusters * hours if offer.reserved else None
    return Bill(clusters, offer.on_demand.value * clusters * hours, reserved, kwh)


def per_million_tokens(prices: Prices, device: Device, gpus: int, tokens_per_s: float) -> Bill:
    """The bill of a million tokens at this rate, paid by the time it takes."""
    return bill(prices, device, gpus, 1e6 / tokens_per_s / 3600)


def training_run(
    prices: Prices, device: Device, gpus: int, step_ms: float, tokens_per_step: float, tokens: float
) -> tuple[float, Bill]:
    """Hours and bill of training on `tokens`: whole steps, one after the other, without an interruption."""
    hours = math.ceil(tokens / tokens_per_step) * step_ms / HOUR_MS
    return hours, bill(prices, device, gpus, hours)
