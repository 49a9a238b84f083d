"""Intervals by suite: scores, ends from other sources, bands of chance, verdicts."""

import numpy as np
import pandas as pd
import pytest

from tilecast.evaluate.suites import (
    cells_rows,
    collective_rows,
    counted_kernels,
    left_out,
    one_width,
    score,
    serving_rows,
    step_rows,
    suite_table,
    two_ends,
)


def test_the_score_is_the_width_and_ten_times_what_lies_outside():
    found = score(np.array([0.0, 0.3, -0.4]), np.full(3, -0.1), np.full(3, 0.2), 0.8)
    assert found == pytest.approx([0.3, 0.3 + 10 * 0.1, 0.3 + 10 * 0.3])
    assert score(np.array([0.3]), np.array([-0.1]), np.array([0.2]), 0.9) == pytest.approx([0.3 + 20 * 0.1])


def test_ends_hold_their_share():
    residual = np.arange(-4.0, 96.0) / 100
    low, high = two_ends(residual)
    assert np.mean((residual >= low) & (residual <= high)) == pytest.approx(0.8, abs=0.02) and low > 0
    low, high = one_width(residual)
    assert low == -high and np.mean(np.abs(residual) <= high) == pytest.approx(0.8, abs=0.01)


def test_no_source_has_a_say_in_its_own_ends():
    residual, source = np.array([0.1, 0.2, 9.0, 0.3]), np.array(["a", "a", "b", "c"])
    low, high = left_out(residual, source, one_width)
    assert high.tolist() == [9.0, 9.0, 0.3, 9.0] and (low == -high).all()
    alone = left_out(residual, np.full(4, "a"), one_width)
    assert np.isnan(alone).all()


def rows(inside, n, suite="training steps", group="g", source="s"):
    residual = np.where(np.arange(n) < inside, 0.0, 1.0)
    frame = pd.DataFrame({"suite": suite, "group": group, "source": source, "level": 0.8, "residual": residual})
    return frame.assign(low=-0.5, high=0.5)


NONE = pd.DataFrame({"suite": "", "group": "", "n": [0], "inside": 0, "level": 0.8}).iloc[:0]


@pytest.mark.parametrize(
    ("inside", "n", "verdict"),
    [(80, 100, "held"), (76, 100, "held"), (74, 100, "within chance"), (8, 8, "within chance")]
    + [(50, 100, "too narrow"), (99, 100, "too wide")],
)
def test_a_share_is_judged_by_the_target_and_by_chance(inside, n, verdict):
    table = suite_table(pd.concat([rows(inside, n), rows(8, 10, group="h", source="t")]), NONE)
    row = table.set_index("group").loc["g"]
    assert row["verdict"] == verdict and row["coverage_percent"] == pytest.approx(100 * inside / n)
    assert row["chance_low"] < 80 < row["chance_high"]
    whole = table.set_index("group").loc["all"]
    assert whole["n"] == n + 10 and whole["sources"] == 2


def test_a_better_score_than_the_constant_is_said():
    wide = rows(8, 10, source="b").assign(residual=lambda frame: 9 * frame["residual"])
    table = suite_table(pd.concat([rows(10, 10, source="a"), wide]), NONE).set_index("group")
    own = score(np.array([0.0] * 18 + [9.0] * 2), np.full(20, -0.5), np.full(20, 0.5)).mean()
    assert table.loc["all", "winkler"] == pytest.approx(own)
    # of ten zeros the other source's width is 0; of eight zeros and two nines, 0 too
    assert table.loc["all", "winkler_constant"] == pytest.approx(10 * 9 * 2 / 20)
    gain = 100 * (1 - own / 9.0)
    assert table.loc["all", "gain_percent"] == pytest.approx(gain)


def times(**columns):
    frame = pd.DataFrame({"measured_ms": [1.0, 2.0], "low_ms": [0.9, 0.9], "high_ms": [1.1, 1.1]})
    return frame.assign(**columns)


def test_every_suite_reads_its_table():
    cells = times(predictor=["tilecast", "li"], device="Tesla_T4", predicted_ms=1.0)
    assert cells_rows(cells)["suite"].tolist() == ["one GPU, GPU in training"]
    amd = cells.assign(device="AMD_Instinct_MI100")
    assert cells_rows(amd)["suite"].tolist() == ["one GPU, GPU of AMD"]
    steps = step_rows(times(suite=["x", "y"], forecast_ms=1.0))
    assert steps["group"].tolist() == ["x", "y"] and steps["residual"].tolist() == [0.0, np.log(2)]
    sent = collective_rows(times(basis=["spec-only", "leave-one-size-out"], system="b200_sxm", held_out_ms=1.0))
    assert len(sent) == 1 and sent["level"].tolist() == [0.9]
    points = pd.DataFrame({"left_out": [True, False], "kind": "dense", "framework": "vllm", "model": "m"})
    points = points.assign(device="d", ttft_ms=1.0, tpot_ms=1.0, measured_ttft_ms=2.0, measured_tpot_ms=1.0)
    served = serving_rows(points, lambda some, what: (np.full(len(some), -1.0), np.full(len(some), 1.0)))
    assert served["suite"].tolist() == ["serving, first token", "serving, output token"]


def test_counts_of_kernels_are_added_by_generation():
    kernels = pd.DataFrame({"predictor": "tilecast", "family": ["bmm"], "device": "all", "gpu": "held out"})
    kernels = kernels.assign(n=10, coverage_percent=70.0)
    protocol = pd.DataFrame(
        {"kind": "left out", "predictor": "tilecast", "generation": "Ada", "family": "gemm"}, [0, 1]
    )
    protocol = protocol.assign(dtype="bf16", n=[100, 300], inside_percent=[50.0, 90.0])
    table = suite_table(rows(8, 10).iloc[:0], counted_kernels(kernels, protocol)).set_index("suite")
    assert table.loc["single kernels, GPU held out", "coverage_percent"] == pytest.approx(70)
    half = table.loc["bf16 gemm, generation left out"]
    assert half["n"] == 400 and half["coverage_percent"] == pytest.approx(80) and np.isnan(half["winkler"])
