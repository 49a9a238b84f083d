"""Simple rivals: each recovers what its form can say, and who is closer is counted right."""

import numpy as np
import pandas as pd
import pytest

from tilecast.evaluate.baselines import Work, compared, efficiencies, line, nearest
from tilecast.evaluate.donors import _discrete, best, donors
from tilecast.evaluate.rivals import Measured, Rival, _left_out
from tilecast.hardware.device_file import load_device
from tilecast.predict.experts import chip_weights
from tilecast.predict.kernel import MATRIX_FAMILIES, MEASURED_FAMILIES
from tilecast.predict.physics.chip import single_chip
from tilecast.predict.tilecast import Tilecast
from tilecast.predict.train.experts import leave_one_out


def work(count: int = 500, seed: int = 0) -> Work:
    draw = np.random.default_rng(seed)
    compute, memory = np.exp(draw.uniform(-4, 3, (2, count)))
    return Work(np.log2(np.stack([compute, memory], axis=1)), compute, memory)


def test_a_line_finds_its_three_numbers() -> None:
    known, new = work(), work(seed=1)
    fitted = line([(known, 0.01 + known.compute_ms / 0.8 + known.memory_ms / 0.6)])
    assert fitted(new) == pytest.approx(0.01 + new.compute_ms / 0.8 + new.memory_ms / 0.6)


def test_two_efficiencies_are_medians_by_what_bounds_a_kernel() -> None:
    known, new = work(), work(seed=1)

    def truth(w: Work) -> np.ndarray:
        return w.roofline_ms / np.where(w.compute_ms >= w.memory_ms, 0.8, 0.5)

    known = known.where(known.roofline_ms > 1)
    fitted = efficiencies([(known, np.append(truth(known)[:-1], 1e-6))])(new)
    assert fitted == pytest.approx(truth(new), rel=0.02)
    vector = Work(known.shape, np.zeros(len(known.memory_ms)), known.memory_ms)  # nothing bound by operations
    assert np.isfinite(efficiencies([(vector, 2 * known.memory_ms)])(new)).all()


def test_a_look_up_scales_by_the_roofline_and_averages_gpus() -> None:
    known = work()
    slow, fast = known, Work(known.shape, known.compute_ms / 4, known.memory_ms / 4)
    assert nearest([(slow, 2 * slow.roofline_ms)])(fast) == pytest.approx(2 * fast.roofline_ms)
    both = nearest([(slow, 2 * slow.roofline_ms), (fast, 8 * fast.roofline_ms)])
    assert both(slow) == pytest.approx(4 * slow.roofline_ms)


def test_who_is_closer_is_a_share_of_cases() -> None:
    measured = np.array([1.0, 1.0, 1.0, 1.0])
    forecasts = {"ours": np.array([1.1, 1.1, 1.1, 1.5]), "theirs": np.array([1.2, 1.2, 1.2, 1.0])}
    table = compared({"group": "all"}, measured, forecasts, "ours").set_index("predictor")
    assert table.loc["theirs", "closer_percent"] == 75
    assert np.isnan(table.loc["ours", "closer_percent"])
    assert table.loc["ours", "mape_percent"] == pytest.approx(20)


def test_a_gpu_left_out_teaches_nobody() -> None:
    known = {device.name: device for device in map(load_device, ("V100", "A100-40GB", "T4"))}
    draw = np.random.default_rng(0)
    parts = []
    for device in known.values():
        b, m = np.exp(draw.uniform(0, 10, 300)).astype(int), draw.integers(512, 4096, 300)
        busy = 1e3 * 12 * b * m / (0.8 * device.bandwidth_bytes_per_s)
        about = {"device": device.name, "family": "elementwise", "op": "add", "dtype": "fp32", "split": "train"}
        parts.append(pd.DataFrame({"b": b, "m": m, "n": 0, "k": 0, "latency_ms": busy + 0.02}).assign(**about))
    model, rows = Tilecast.load(), pd.concat(parts, ignore_index=True)
    other = rows.assign(latency_ms=np.where(rows["device"] == "Tesla_T4", 9.0, rows["latency_ms"]))
    views = [Rival("line", Measured(table, known, 0.7), ("Tesla_T4",)) for table in (rows, other)]
    kernels = rows[["family", "op", "b", "m"]].head(5)
    one, two = (view.predict(kernels, known["Tesla_T4"])["latency_ms"] for view in views)
    assert one.to_numpy() == pytest.approx(two.to_numpy())
    never_timed = {"family": "memory", "op": "copy", "b": 1, "m": 9, "bytes_read": 3e9, "bytes_written": 1e9}
    moved = views[0].predict(pd.DataFrame([never_timed]), known["Tesla_T4"])["latency_ms"].item()
    assert moved == pytest.approx(1e3 * 4e9 / known["Tesla_T4"].bandwidth_bytes_per_s)
    (table,) = _left_out(model, Measured(rows, known, 0.7))
    found = table.set_index("predictor")["mape_percent"]
    assert found["grid"] < 20 and found["line"] < 20 and found["tilecast"] < 30


def test_ways_to_borrow_are_judged_as_training_judges_the_shipped_one() -> None:
    model, draw = Tilecast.load(), np.random.default_rng(0)
    known = {name: load_device(name) for name in model.donors}
    parts = []
    for name in known:
        for family in MEASURED_FAMILIES:
            matrix = family in MATRIX_FAMILIES
            sizes = {axis: np.exp(draw.uniform(3, 7, 40)).astype(int) for axis in "bmnk"}
            sizes |= {"b": sizes["b"] * 0 + 1} if family == "linear" else {}
            sizes |= {} if matrix else {"n": 0, "k": 0}
            about = {"device": name, "family": family, "op": "add" if family == "elementwise" else family}
            part = pd.DataFrame(sizes | {"latency_ms": np.exp(draw.uniform(-3, 3, 40))})
            parts.append(part.assign(**about, dtype="fp32", split="train"))
    measured = Measured(pd.concat(parts, ignore_index=True), known, model.meta["decay"])
    table = donors(model, measured)
    trained = leave_one_out(measured.examples, model.experts, measured.chips)[0]
    for family in MEASURED_FAMILIES:
        expected = np.mean(list(trained[family].values()))
        assert table.iloc[0][f"{family}_percent"] == pytest.approx(expected, abs=0.01)
    assert table["mean_percent"].head(9).nunique() == 9
    decay, held = best(table)
    rows = table.set_index("weights")[["bmm_percent", "linear_percent"]].mean(axis=1)
    steps = ", ".join(f"{step:g}" for step in held["predict/experts.py", "MATRIX_STEPS"])
    assert rows[f"matrix: decay {decay}, steps {steps}"] == rows[rows.index.str.startswith("matrix:")].min()
    shipped = table.set_index("weights").loc["matrix: decay 0.7, steps 1, 1, 0.5"]
    assert shipped["mean_percent"] == pytest.approx(table.iloc[0]["mean_percent"])


def test_weights_by_generation_and_lanes_are_unmoved_by_other_figures() -> None:
    from dataclasses import replace

    model, h100 = Tilecast.load(), single_chip(load_device("H100"))
    faster = replace(h100, bandwidth_bytes_per_s=3 * h100.bandwidth_bytes_per_s)
    assert _discrete(h100, model.donors, True, 0.7) == pytest.approx(_discrete(faster, model.donors, True, 0.7))
    shipped = [chip_weights(one, model.donors, True, 0.7) for one in (h100, faster)]
    assert shipped[0] != pytest.approx(shipped[1])
