"""Prices are dated or refused; bills are whole clusters times hours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.base.paths import PRICES
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import bill, load_prices, per_million_tokens, training_run

H100 = load_device("H100")
SHIPPED = load_prices()


def edited(tmp_path: Path, change: Callable[[dict], object]) -> Path:
    raw = yaml.safe_load(PRICES.read_text())
    change(raw)
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_every_shipped_price_has_a_date_and_a_source() -> None:
    for offer in SHIPPED.offers:
        for figure in filter(None, (offer.on_demand, offer.reserved)):
            assert figure.date.year >= 2000 and len(SHIPPED.sources[figure.source]) > 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw["prices"][0]["on_demand"].pop("date"), ".date` is missing; write"),
        (
            lambda raw: raw["prices"][0]["on_demand"].update(date="last year"),
            "price 1: `on_demand.date` = 'last year': Input should be a valid date",
        ),
        (lambda raw: raw["prices"][0].update(reserved=39.33), "`reserved` = 39.33 is not a mapping; write"),
        (lambda raw: raw["prices"][0]["reserved"].pop("source"), "`reserved.source` is missing"),
        (
            lambda raw: raw["prices"][0]["on_demand"].update(usd_per_hour=0),
            "`on_demand.usd_per_hour` = 0: Input should be greater than 0",
        ),
        (lambda raw: raw["prices"][0].pop("on_demand"), "`on_demand` is missing"),
        (lambda raw: raw["prices"][0].update(gpus=0), "`gpus` = 0: Input should be greater than or equal to 1"),
        (lambda raw: raw["prices"][0]["reserved"].update(source="hearsay"), "'hearsay' is not among `sources`"),
        (lambda raw: raw["prices"][0].update(spot=1), "unknown key `spot`"),
        (lambda raw: raw["energy"]["site_factor"].pop("date"), ".date` is missing; write"),
        (lambda raw: raw.update(prices={}), "`prices`: Input should be a valid list"),
    ],
)
def test_a_bad_price_is_one_line(tmp_path: Path, change: Callable[[dict], object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load_prices(edited(tmp_path, change))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[", "- 1", "\x00", "prices: 2026-13-45"])
def test_foreign_files_are_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_prices(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("gpus", "clusters"), [(1, 1), (8, 1), (9, 2), (1024, 128)])
def test_whole_clusters_are_paid(gpus: int, clusters: int) -> None:
    offer = SHIPPED.offer(H100.name)
    assert offer is not None and offer.gpus == 8 and offer.reserved is not None
    paid = bill(SHIPPED, H100, gpus, 2.0)
    assert paid.clusters == clusters
    assert paid.on_demand_usd == pytest.approx(2 * clusters * offer.on_demand.value)
    assert paid.reserved_usd == pytest.approx(2 * clusters * offer.reserved.value)


def test_energy_by_hand() -> None:
    assert bill(SHIPPED, H100, 8, 1.0).energy_kwh == pytest.approx(8 * (700 + 575) * 1.58 / 1e3)


def test_no_price_is_none_not_zero() -> None:
    paid = bill(SHIPPED, load_device("T4"), 1, 1.0)
    assert paid.on_demand_usd is None and paid.reserved_usd is None and paid.energy_kwh is not None


@given(st.integers(1, 4096), st.floats(1, 1e7))
@settings(max_examples=30, deadline=None)
def test_a_million_tokens_cost_the_rate_times_their_time(gpus: int, rate: float) -> None:
    million = per_million_tokens(SHIPPED, H100, gpus, rate).on_demand_usd
    hour = bill(SHIPPED, H100, gpus, 1.0).on_demand_usd
    assert million is not None and hour is not None
    assert million * rate * 3600 / 1e6 == pytest.approx(hour)


def test_a_run_is_whole_steps() -> None:
    hours, paid = training_run(SHIPPED, H100, 8, step_ms=3.6e6, tokens_per_step=100, tokens=201)
    assert hours == 3
    assert paid == bill(SHIPPED, H100, 8, 3.0)
