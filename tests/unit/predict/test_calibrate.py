"""Calibration: a few measurements correct what the description got wrong, and never more than they can tell."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.evaluate.machine import calibration
from tilecast.hardware.device_file import load_device
from tilecast.predict.calibrate import Calibrated, fit, load, save, shifts
from tilecast.predict.registry import load_predictor

FAMILIES = ("bmm", "linear", "softmax", "norm")


def measured(factors: dict[str, float], each: int, noise: float = 0.05, seed: int = 0) -> dict[str, np.ndarray]:
    """Forecasts, and measurements that are each family's factor times them, with noise."""
    generator = np.random.default_rng(seed)
    family = np.repeat(list(factors), each)
    predicted = generator.uniform(0.1, 10, len(family))
    off = np.repeat(list(factors.values()), each) * np.exp(generator.normal(0, noise, len(family)))
    return {
        "family": family,
        "dtype": np.full(len(family), "fp32"),
        "measured_ms": predicted * off,
        "predicted_ms": predicted,
        "high_ms": predicted * 1.3,
    }


def test_many_measurements_are_followed_and_none_change_nothing() -> None:
    factors = {"bmm": 2.0, "linear": 1.2, "softmax": 0.5, "norm": 1.0}
    scales = fit(**measured(factors, 60))
    for family, factor in factors.items():
        assert math.exp(scales.of(family, "fp32")[0]) == pytest.approx(factor, rel=0.03)
    empty = {name: values[:0] for name, values in measured(factors, 1).items()}
    assert fit(**empty).of("bmm", "fp32")[0] == 0.0


def test_one_measurement_moves_its_family_more_than_the_others_and_neither_fully() -> None:
    one = {name: values[:1] for name, values in measured({"bmm": 3.0}, 1, noise=0).items()}
    scales = fit(**one)
    own, other = scales.of("bmm", "fp32")[0], scales.of("norm", "fp32")[0]
    assert 0 < other < own < math.log(3.0)


def test_what_all_families_share_reaches_the_family_never_measured() -> None:
    scales = fit(**measured(dict.fromkeys(FAMILIES, 2.0), 20))
    assert 1.5 < math.exp(scales.of("attention", "fp32")[0]) < 2.0


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(FAMILIES), st.floats(0.1, 10), min_size=1), st.integers(1, 12))
def test_a_shift_lies_between_no_shift_and_the_extremes_measured(factors: dict[str, float], each: int) -> None:
    data = measured(factors, each, noise=0.1)
    scales = fit(**data)
    ratio = np.log(data["measured_ms"] / data["predicted_ms"])
    for family in (*factors, "other"):
        shift, half = scales.of(family, "fp32")
        assert min(0.0, ratio.min()) - 1e-9 <= shift <= max(0.0, ratio.max()) + 1e-9
        assert half > 0


def test_a_calibrated_predictor_scales_latency_and_interval_and_respects_the_peak() -> None:
    device, plain = load_device("V100"), load_predictor("tilecast")
    kernels = pd.DataFrame({"family": "linear", "op": "linear", "b": 1, "m": [512, 4096], "n": 1024, "k": 1024})
    kernels = kernels.assign(dtype="fp32", flops=2.0 * kernels["m"] * 1024 * 1024)
    before = plain.predict(kernels.drop(columns="flops"), device)["latency_ms"]
    data = measured({"linear": 1.5}, 40)
    after = Calibrated(plain, fit(**data)).predict(kernels, device)
    assert after["latency_ms"].to_numpy() == pytest.approx(1.5 * before.to_numpy(), rel=0.05)
    assert (after["low_ms"] < after["latency_ms"]).all() and (after["latency_ms"] < after["high_ms"]).all()
    faster = Calibrated(plain, fit(**measured({"linear": 0.001}, 40))).predict(kernels, device)
    assert faster["latency_ms"].to_numpy() == pytest.approx(
        1e3 * kernels["flops"] / device.peak_flops_per_s("fp32", matrix=True)
    )


def test_scales_are_kept_for_their_device_and_predictor_alone(tmp_path: Path) -> None:
    scales = fit(**measured({"bmm": 2.0, "norm": 0.7}, 9))
    path = tmp_path / "calibration.json"
    save(scales, "NVIDIA_H200", "tilecast", path)
    assert load(path, "NVIDIA_H200", "tilecast") == scales
    with pytest.raises(InputError, match="was made for NVIDIA_H200"):
        load(path, "NVIDIA_L4", "tilecast")
    path.write_text('{"groups": [{}]}')
    with pytest.raises(InputError, match="holds no calibration"):
        load(path, "NVIDIA_H200", "tilecast")


def test_error_falls_with_the_number_of_kernels_measured() -> None:
    data = measured({"bmm": 4.0, "linear": 2.5, "softmax": 3.0}, 40, noise=0.1)
    names = {"high_ms": "predicted_high_ms"}
    live = pd.DataFrame(data).rename(columns=names).assign(where="live", device="d", predictor="tilecast")
    curve = calibration(live, 0).set_index("n")
    assert list(curve.index) == [0, 2, 4, 8, 16, 32, 64]
    assert curve.loc[0, "mape_percent"] > 60
    errors = [curve.loc[n, "mape_percent"] for n in (64, 8, 2, 0)]
    assert errors[0] < 12 and errors == sorted(errors)
    assert (curve["tested"] == 40).all()
    shift, _ = shifts(fit(**data), data["family"], data["dtype"])
    assert len(shift) == 120
