"""What a system costs: dollars and kilowatt-hours of its time, from dated list prices of whole clusters.

data/prices.yaml holds the prices. A cluster is the smallest set of GPUs one can rent, and whole ones are paid:
ceil(GPUs / cluster). Energy is an estimate from above: every GPU at its board's power limit all the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.paths import PRICES
from tilecast.hardware.device import Device

KINDS = ("on_demand", "reserved")
_TOP = ("prices", "energy", "sources")
_OFFER = ("device", "offer", "gpus", *KINDS)
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


def load_prices(path: str | Path = PRICES) -> Prices:
    """Read and check a price file; InputError on a price without a date or a source."""
    where = Path(path)
    raw = read_yaml(where, "name a price file")
    entry = _mapping(raw, _TOP, where, "a price file")
    documents = _mapping(entry["sources"], None, where, "`sources`")
    energy = _mapping(entry["energy"], ("host_w_per_gpu", "site_factor"), where, "`energy`")
    if not isinstance(entry["prices"], list):
        raise InputError(where, "`prices` is no list", f"each has {', '.join(_OFFER)}")
    return Prices(
        offers=tuple(_offer(item, documents, where) for item in entry["prices"]),
        host_w_per_gpu=_figure(energy["host_w_per_gpu"], "value", "energy.host_w_per_gpu", documents, where),
        site_factor=_figure(energy["site_factor"], "value", "energy.site_factor", documents, where),
    )


def _mapping(raw: Any, keys: tuple[str, ...] | None, where: Path, what: str) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise InputError(where, f"{what} is no mapping", f"it has {', '.join(keys)}" if keys else "")
    unknown = sorted(str(key) for key in raw if keys is not None and key not in keys)
    if unknown:
        raise InputError(where, f"unknown key `{unknown[0]}`", f"{what} has {', '.join(keys or ())}")
    missing = [key for key in keys or () if key not in raw and key != "reserved"]
    if missing:
        raise InputError(where, f"{what}: `{missing[0]}` is missing", f"it has {', '.join(keys or ())}")
    return raw


def _offer(raw: Any, documents: Mapping[str, Any], where: Path) -> Offer:
    entry = _mapping(raw, _OFFER, where, "a price")
    device, gpus = str(entry["device"]), entry["gpus"]
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 1:
        raise InputError(where, f"{device}: `gpus` = {gpus!r} is no whole number above zero")
    prices = {
        kind: _figure(entry[kind], "usd_per_hour", f"{device}, {kind}", documents, where)
        for kind in KINDS
        if entry.get(kind) is not None
    }
    if "on_demand" not in prices:
        raise InputError(where, f"{device}: has no price on demand", "give usd_per_hour, date, source")
    return Offer(device, str(entry["offer"]), gpus, prices["on_demand"], prices.get("reserved"))


def _figure(raw: Any, key: str, what: str, documents: Mapping[str, Any], where: Path) -> Figure:
    if not isinstance(raw, dict):
        raise InputError(where, f"{what} has no date", f"write {{{key}: NUMBER, date: YYYY-MM-DD, source: NAME}}")
    when = raw.get("date")
    if isinstance(when, str):
        try:
            when = date.fromisoformat(when)
        except ValueError:
            when = None
    if type(when) is not date:
        raise InputError(
            where, f"{what} has no date", "prices change: add the day it was valid, `date: YYYY-MM-DD`"
        )
    if not isinstance(raw.get("source"), str) or raw["source"] not in documents:
        raise InputError(where, f"{what}: source {raw.get('source')!r} is not among `sources`")
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e7:
        raise InputError(where, f"{what}: `{key}` = {value!r} is no number above zero")
    return Figure(float(value), when.isoformat(), str(documents[raw["source"]]))


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
