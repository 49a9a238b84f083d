"""Calibration: a few measurements correct what the description got wrong, and never more than they can tell."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.evaluate.machine import calibration, kernels
from tilecast.hardware.device_file import load_device
from tilecast.measure.describe import device_of, read_description
from tilecast.measure.grid import with_work
from tilecast.measure.store import load_run, runs
from tilecast.predict.calibrate import Calibrated, Scales, fit, load, save
from tilecast.predict.kernel import moved_bytes
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
        "moved": 1e6 * predicted,
    }


def shift_of(scales: Scales, family: str, predicted_ms: float = 1.0) -> tuple[float, float]:
    """Shift and half-width of one kernel like those that `measured` makes."""
    kind = np.array([family]), np.array(["fp32"])
    shift, half = scales.of(*kind, np.array([predicted_ms]), np.array([1e6 * predicted_ms]))
    return float(shift[0]), float(half[0])


def test_many_measurements_are_followed_and_none_change_nothing() -> None:
    factors = {"bmm": 2.0, "linear": 1.2, "softmax": 0.5, "norm": 1.0}
    scales = fit(**measured(factors, 60))
    for family, factor in factors.items():
        assert math.exp(shift_of(scales, family)[0]) == pytest.approx(factor, rel=0.03)
    empty = {name: values[:0] for name, values in measured(factors, 1).items()}
    assert shift_of(fit(**empty), "bmm")[0] == 0.0


def test_one_measurement_moves_its_family_more_than_the_others_and_neither_fully() -> None:
    one = {name: values[:1] for name, values in measured({"bmm": 3.0}, 1, noise=0).items()}
    scales = fit(**one)
    own, other = shift_of(scales, "bmm")[0], shift_of(scales, "norm")[0]
    assert 0 < other < own < math.log(3.0)


def test_what_all_families_share_reaches_the_family_never_measured() -> None:
    scales = fit(**measured(dict.fromkeys(FAMILIES, 2.0), 20))
    assert 1.5 < math.exp(shift_of(scales, "attention")[0]) < 2.0


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(FAMILIES), st.floats(0.1, 10), min_size=1), st.integers(1, 12))
def test_a_shift_lies_between_no_shift_and_the_extremes_measured(factors: dict[str, float], each: int) -> None:
    data = measured(factors, each, noise=0.1)
    scales = fit(**data)
    ratio = np.log(data["measured_ms"] / data["predicted_ms"])
    for family in (*factors, "other"):
        shift, half = shift_of(scales, family)
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
    for law, least in (((0.01, 0.1, 0.01), True), ((0.009, 0.1, 0.01), False), ((0.01, 0.1, 0.009), False)):
        save(replace(scales, law=law), "NVIDIA_H200", "tilecast", path)
        if least:
            assert load(path, "NVIDIA_H200", "tilecast").law == law
        else:
            with pytest.raises(InputError, match="its law is out of range"):
                load(path, "NVIDIA_H200", "tilecast")
    path.write_text('{"kernels": [[]]}')
    with pytest.raises(InputError, match="holds no calibration"):
        load(path, "NVIDIA_H200", "tilecast")


def test_error_falls_with_the_number_of_kernels_measured() -> None:
    data = measured({"bmm": 4.0, "linear": 2.5, "softmax": 3.0}, 40, noise=0.1)
    live = pd.DataFrame(data).assign(where="live", device="d", predictor="tilecast", op="x", shape="")
    live = live.assign(b=1, m=(1e3 * live["predicted_ms"]).astype(int), n=1, k=1)
    curve = calibration(live, 0).set_index("n")
    assert list(curve.index) == [0, 2, 4, 8, 16, 32, 64]
    assert curve.loc[0, "mape_percent"] > 60
    errors = [curve.loc[n, "mape_percent"] for n in (64, 8, 2, 0)]
    assert errors[0] < 12 and errors == sorted(errors)
    assert (curve["tested"] == 40).all()


RECORD = Path(__file__).resolve().parents[3] / "resources/measured/CPU_AMD_EPYC_1t"


def test_on_the_recorded_cpu_calibrated_forecasts_beat_the_roofline_on_kernels_they_did_not_see() -> None:
    """Measure, calibrate, forecast: two thirds of the record's kernels are used, the others judged, 12 times."""
    device = device_of(read_description(RECORD / "description.json"))
    timed = pd.concat([load_run(path, "kernels") for path in runs(RECORD, "kernels")], ignore_index=True)
    work = with_work(timed[timed["outcome"] == "measured"].reset_index(drop=True))
    live, _ = kernels(RECORD, "kept")
    spread = 100 * (work["high_ms"] / work["latency_ms"] - work["low_ms"] / work["latency_ms"])
    assert live["spread_percent"].median() == pytest.approx(spread.median(), rel=0.05)
    measured_ms, moved = work["latency_ms"].to_numpy(dtype=float), moved_bytes(work)
    kind = work["family"].to_numpy(), work["dtype"].to_numpy()
    plain, roofline = (
        load_predictor(name).predict(work, device)["latency_ms"].to_numpy(dtype=float)
        for name in ("tilecast", "roofline")
    )
    generator, errors, inside = np.random.default_rng(1), [], []
    for _ in range(12):
        places = generator.permutation(len(work))
        used, judged = places[: len(work) * 2 // 3], places[len(work) * 2 // 3 :]
        scales = fit(*(part[used] for part in (*kind, measured_ms, plain, moved)))
        shift, half = scales.of(*(part[judged] for part in (*kind, plain, moved)))
        off = np.log(plain[judged] / measured_ms[judged]) + shift
        others = (part[judged] / measured_ms[judged] - 1 for part in (plain, roofline))
        errors.append([100 * np.abs(part).mean() for part in (np.exp(off) - 1, *others)])
        inside.append(np.mean(np.abs(off) <= half))
    calibrated, before, peak = np.mean(errors, axis=0)
    print(f"mean error: calibrated {calibrated:.0f} %, roofline {peak:.0f} %, uncalibrated {before:.0f} %")
    assert calibrated < 0.85 * peak < before
    assert 0.65 <= np.mean(inside) <= 0.95
