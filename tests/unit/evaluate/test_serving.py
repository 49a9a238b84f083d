"""Errors of serving forecasts, on points small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from tilecast.evaluate.serving import anchor_errors, serving_errors


def test_the_publishers_system_is_compared_on_the_points_it_answered():
    both = pd.DataFrame({"point": ["a", "b"], "measured_ttft_ms": [100.0, 50.0], "measured_tpot_ms": [10.0, 20.0]})
    table = pd.concat([both.assign(left_out=out, ttft_ms=110.0, tpot_ms=11.0) for out in (True, False)])
    publisher = pd.DataFrame({"point": ["a", "b"], "ttft_ms": [100.0, np.nan], "tpot_ms": [12.0, np.nan]})
    found = anchor_errors(table, publisher).set_index("forecaster")
    assert (found["n"] == 1).all()
    assert found.loc["publisher", ["ttft_median_percent", "tpot_median_percent"]].tolist() == pytest.approx(
        [0, 20]
    )
    assert found.loc["tilecast, kept in", "tpot_median_percent"] == pytest.approx(10)
    assert anchor_errors(table, publisher.tail(1)).empty


def test_errors_are_medians_of_every_group_and_of_all() -> None:
    points = pd.DataFrame({"device": ["a", "a", "b"], "framework": ["x", "y", "x"], "tpot_ms": [9.0, 12.0, 10.0]})
    points = points.assign(left_out=True, kind="dense", measured_tpot_ms=10.0, ttft_ms=5.0, measured_ttft_ms=4.0)
    found = serving_errors(points).set_index(["device", "framework"])
    assert found.loc[("all", "all"), ["n", "tpot_median_percent"]].tolist() == pytest.approx([3, 10])
    assert found.loc[("a", "all"), ["n", "tpot_median_percent"]].tolist() == pytest.approx([2, 15])
    assert found.loc[("all", "x"), "tpot_ratio"] == pytest.approx(0.95)
    assert (found["ttft_median_percent"] == 25).all() and len(found) == 8
    assert serving_errors(points.head(0)).empty
