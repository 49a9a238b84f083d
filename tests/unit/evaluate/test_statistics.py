"""Statistics of errors: summaries, intervals, correlations and roll-ups, on figures to count by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilecast.base.statistics import absolute_error_percent, error_percent
from tilecast.evaluate.statistics import (
    BY_NAME,
    MOST_RESAMPLED,
    binomial_interval,
    bootstrap_interval,
    correlation,
    error_summary,
    error_table,
    joined,
    statistics,
    summary_of,
)
from tilecast.tables.declared.evaluation import MAPE

H100, V100, MI100 = "NVIDIA_H100_80GB_HBM3", "Tesla_V100-PCIE-32GB", "AMD_Instinct_MI100"


def test_statistics_of_known_errors() -> None:
    measured = [100.0, 200.0, 300.0, 400.0]
    predicted = [110.0, 180.0, 300.0, 480.0]
    found = statistics(pd.DataFrame({"measured_ms": measured, "predicted_ms": predicted}), 1000, 0.95, 0)
    assert (found["n"], found["mape_percent"], found["median_percent"], found["worst_percent"]) == (4, 10, 10, 20)
    assert found["bias_percent"] == pytest.approx(5)
    assert found["p90_percent"] == pytest.approx(17)
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(np.corrcoef(measured, predicted)[0, 1])
    assert 0 <= found["ci_low"] < 10 < found["ci_high"] <= 20


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=40), st.integers(0, 10))
def test_the_interval_lies_within_the_values(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(np.array(values), 200, 0.9, seed)
    assert min(values) - 1e-6 <= low <= high <= max(values) + 1e-6


def test_the_interval_has_the_coverage_it_states() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for repeat in range(300):
        low, high = bootstrap_interval(random.normal(10, 2, 40), 400, 0.9, repeat)
        hits += low <= 10 <= high
    assert 0.84 <= hits / 300 <= 0.95


def test_beyond_the_largest_sample_the_interval_is_the_normal_one_and_agrees() -> None:
    values = np.random.default_rng(1).gamma(2, 5, MOST_RESAMPLED + 1)
    normal, resampled = (bootstrap_interval(part, 2000, 0.95, 0) for part in (values, values[:-1]))
    assert normal == pytest.approx(resampled, rel=0.005)


def test_wilsons_interval_of_a_share() -> None:
    # the textbook's 8 of 10 at 95 %: 49.0 to 94.3
    assert binomial_interval(8, 10, 0.95) == pytest.approx((49.02, 94.33), abs=0.01)
    assert binomial_interval(0, 3, 0.95)[0] == pytest.approx(0, abs=1e-9)
    assert binomial_interval(3, 3, 0.95)[1] == pytest.approx(100) and binomial_interval(3, 3, 0.95)[0] < 50


def test_one_value_has_no_interval_and_no_correlation() -> None:
    found = statistics(pd.DataFrame({"measured_ms": [1.0], "predicted_ms": [2.0]}), 100, 0.9, 0)
    assert np.isnan([found["ci_low"], found["ci_high"], found["pearson"], found["spearman"]]).all()
    flat, rising = np.ones(4), np.arange(4.0)
    assert np.isnan([correlation(flat, rising), correlation(rising, flat)]).all()
    assert np.isnan(correlation(rising[:2], rising[:2]))  # two pairs are always on a line
    assert correlation(rising, 3 * rising) == 1 and BY_NAME["accuracy"](rising) == 98.5


def errors(*cells: tuple[str, str, str, float]) -> pd.DataFrame:
    """Inference cells of 100 ms by predictor, device, model and forecast."""
    rows = [
        dict(zip(("predictor", "device", "model", "predicted_ms"), cell, strict=True))
        | {"mode": "inference", "option": "none", "distribution": "out", "measured_ms": 100.0}
        for cell in cells
    ]
    return pd.DataFrame(rows)


def test_roll_ups_keep_makers_apart() -> None:
    found = errors(("li", V100, "a", 90.0), ("li", MI100, "a", 50.0), ("li", H100, "a", 80.0))
    mape = error_table(found, MAPE, resamples=100, confidence=0.9, seed=0)
    plain = mape[(mape["mode"] == "all") & (mape["option"] == "none") & (mape["distribution"] == "all")]
    assert dict(zip(plain["device"], plain["mape_percent"], strict=True)) == {
        V100: pytest.approx(10),
        H100: pytest.approx(20),
        MI100: pytest.approx(50),
        "NVIDIA": pytest.approx(15),
        "AMD": pytest.approx(50),
        "all": pytest.approx(80 / 3),
    }
    assert mape[mape["distribution"] == "in"].empty  # a group without cells has no row


def test_a_groups_interval_does_not_depend_on_other_groups() -> None:
    mine = [("roofline", V100, model, forecast) for model, forecast in (("a", 90.0), ("b", 70.0), ("c", 99.0))]
    few = {"resamples": 500, "confidence": 0.9, "seed": 3}
    alone = error_table(errors(*mine), MAPE, **few)
    beside = error_table(errors(("li", V100, "a", 10.0), *mine), MAPE, **few)
    pd.testing.assert_frame_equal(alone, beside[beside["predictor"] == "roofline"].reset_index(drop=True))


def test_groups_joined_as_all_hold_every_row_of_theirs() -> None:
    frame = pd.DataFrame({"kind": ["x", "x", "y"], "gpu": ["a", "b", "a"], "size": [1.0, 3.0, 5.0]})
    found = joined(frame, ["kind", "gpu"], [("gpu",)], n=("size", "size"), mean=("size", "mean"))
    assert found.values.tolist() == [
        ["x", "a", 1, 1.0],
        ["x", "b", 1, 3.0],
        ["y", "a", 1, 5.0],
        ["x", "all", 2, 2.0],
        ["y", "all", 1, 5.0],
    ]


def test_a_summary_leaves_out_what_is_missing() -> None:
    found = error_summary([-10.0, 20.0, float("nan")])
    assert found["n"] == 2 and found["mape_percent"] == 15 and found["bias_percent"] == 5
    assert error_summary([])["n"] == 0 and np.isnan(error_summary([])["worst_percent"])
    frame = pd.DataFrame({"gpu": ["b", "a", "b"], "ape_percent": [1.0, 2.0, 3.0]})
    assert summary_of(frame, "gpu")[["gpu", "n", "mape_percent"]].values.tolist() == [["a", 1, 2.0], ["b", 2, 2.0]]


def test_the_two_ways_to_round_an_error_agree() -> None:
    assert error_percent(80.0, 100.0) == pytest.approx(error_percent(80.0, 100.0, difference_first=True))
    assert absolute_error_percent(80.0, 100.0) == pytest.approx(20)
