"""Simple rivals: each recovers what its form can say, and who is closer is counted right."""

import numpy as np
import pandas as pd
import pytest

from tilecast.evaluate.baselines import Work, compared, efficiencies, line, nearest
from tilecast.evaluate.rivals import Measured, Rival, _left_out
from tilecast.hardware.device_file import load_device
from tilecast.predict.tilecast import Tilecast


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
    (table,) = _left_out(model, Measured(rows, known, 0.7))
    found = table.set_index("predictor")["mape_percent"]
    assert found["grid"] < 20 and found["line"] < 20 and found["tilecast"] < 30
