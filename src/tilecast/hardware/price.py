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

from pydantic import AliasChoices, Field, model_validator

from tilecast.base.documents import read_yaml, shown
from tilecast.base.inputs import Count, Positive, Section, validated
from tilecast.base.paths import PRICES
from tilecast.hardware.device import Device

KINDS = ("on_demand", "reserved")
HOUR_MS = 3.6e6


class Figure(Section):
    """A number with its date and source, a key of the file's `sources`."""

    value: Annotated[Positive, Field(lt=1e7, validation_alias=AliasChoices("usd_per_hour", "value"))]
    date: datetime.date
    source: str


class Offer(Section):
    """A cluster one can rent; `reserved` is None where no price is known."""

    device: str
    name: Annotated[str, Field(validation_alias="offer")]
    gpus: Count
    on_demand: Figure  # dollars per hour of one cluster
    reserved: Figure | None = None


class Energy(Section):
    """Power of a GPU's share of its node, the GPU left out; power of a whole site over that of its computers."""

    host_w_per_gpu: Figure
    site_factor: Figure


class Prices(Section):
    """Everything data/prices.yaml says."""

    offers: Annotated[list[Offer], Field(validation_alias="prices")]
    energy: Energy
    sources: dict[str, str]

    @model_validator(mode="after")
    def _sourced(self) -> Prices:
        figures = [figure for offer in self.offers for figure in (offer.on_demand, offer.reserved) if figure]
        for figure in (*figures, self.energy.host_w_per_gpu, self.energy.site_factor):
            if figure.source not in self.sources:
                raise ValueError(f"source {shown(figure.source)} is not among `sources`")
        return self

    def offer(self, device: str) -> Offer | None:
        """The offer whose GPU-hour costs least on demand; None where none has this device."""
        known = [offer for offer in self.offers if offer.device == device]
        return min(known, key=lambda offer: offer.on_demand.value / offer.gpus, default=None)


@dataclass(frozen=True)
class Bill:
    """What some time on some GPUs costs; None where no price is known."""

    clusters: int | None
    on_demand_usd: float | None
    reserved_usd: float | None
    energy_kwh: float | None


def load_prices(path: str | Path = PRICES) -> Prices:
    """Read and check a price file; InputError on a price without a date or a source."""
    raw = read_yaml(path, "name a price file")
    return validated(Prices, raw, path, "write {NUMBER, date: YYYY-MM-DD, source: NAME}")


def bill(prices: Prices, device: Device, gpus: int, hours: float) -> Bill:
    """Dollars and energy of `hours` on `gpus`; whole clusters are paid, only the GPUs used draw power."""
    kwh = None
    if device.power_w is not None:
        watts = device.power_w + prices.energy.host_w_per_gpu.value
        kwh = gpus * watts * prices.energy.site_factor.value * hours / 1e3
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
