"""Board power by what binds kernels, and energy by the token."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tilecast as tc
from tilecast.hardware.device_file import load_device
from tilecast.hardware.power import joules_per_token, source, watts

H100, B200 = load_device("H100"), load_device("B200")


def test_power_is_a_share_of_the_boards_limit_by_what_binds() -> None:
    busy, idle = watts(H100, {"compute": 3.0}), watts(H100, {"latency": 3.0})
    assert busy is not None and idle is not None
    assert busy["mean"] == pytest.approx(0.825 * 700) and idle["mean"] == pytest.approx(0.371 * 700)
    both = watts(H100, {"compute": 1.0, "latency": 1.0})
    assert both is not None
    assert both["mean"] == pytest.approx((busy["mean"] + idle["mean"]) / 2)
    assert both["low"] < both["mean"] < both["high"] == 700
    assert watts(H100, {"wave tail": 1.0}) == watts(H100, {"compute": 1.0})
    assert watts(replace(H100, power_w=None), {"compute": 1.0}) is None
    assert "700 W" in source(H100) and "aiconfigurator" in source(H100)
    rates = {"mean": 100.0, "low": 110.0, "high": 90.0}
    found = joules_per_token(both, 2, rates)
    assert found is not None and found["low"] == pytest.approx(2 * both["low"] / 110)


def test_only_the_gpu_whose_power_was_measured_has_a_narrow_interval() -> None:
    for bound in ("compute", "bandwidth", "latency"):
        own, other = watts(B200, {bound: 1.0}), watts(H100, {bound: 1.0})
        assert own is not None and other is not None
        assert other["low"] / 700 <= own["low"] / 1000 and other["high"] / 700 > own["high"] / 1000
        assert other["mean"] / 700 == pytest.approx(own["mean"] / 1000)


def test_a_forecast_says_what_a_token_takes() -> None:
    one = tc.forecast("llama3_8b", "H100", phase="decode", context=1024, batch=16).values
    joules, drawn = one["energy"]["joules_per_token"], one["energy"]["watts"]
    assert joules["low"] < joules["mean"] < joules["high"]
    assert joules["mean"] == pytest.approx(drawn["mean"] / one["tokens_per_s"])
    assert joules["high"] * 1e3 * 16 <= 700 * one["high_ms"]
    two = tc.forecast("llama3_8b", system="h100_sxm", tp=2, phase="decode", context=1024, batch=16).values
    assert two["energy"]["joules_per_token"]["mean"] > joules["mean"]
    eager = tc.forecast("gpt2", "H100", engine="eager", phase="decode", context=64).values
    assert eager["energy"]["watts"]["mean"] < 0.45 * 700  # it waits for its host most of the time
