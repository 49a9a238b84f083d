"""Coverage of intervals and errors of held-out kernels, on cases small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from small_forecasts import A100, ROWS, UNSEEN, Constant, cells, device_table, intervals, kernels

from tilecast.base.errors import InputError
from tilecast.evaluate.coverage import coverage_table, interval_cells
from tilecast.evaluate.kernels import kernel_errors
from tilecast.tables.declared.artifact import KERNELS
from tilecast.tables.declared.evaluation import INTERVAL_CELLS
from tilecast.tables.declared.predict import INTERVALS
from tilecast.tables.io import check, empty


def one(table, **where):
    where = {"device": "all", "gpu": "all", "mode": "all", "distribution": "all"} | where
    found = table[(table[list(where)] == pd.Series(where)).all(axis=1)]
    assert len(found) == 1
    return found.iloc[0]


def test_inside_is_counted_with_both_ends():
    errors = cells([8.0, 12.5, 7.99, 12.51, 10.0])
    table = coverage_table(interval_cells(errors, [intervals(errors)]), 0.95)
    whole = one(table)
    assert (whole["n"], whole["inside"], whole["coverage_percent"]) == (5, 3, 60)
    assert whole["claimed_percent"] == 80 and whole["width_percent"] == pytest.approx(45)
    assert whole["ci_low"] < 60 < whole["ci_high"]
    assert one(table, gpu="in training")["coverage_percent"] == 100
    assert one(table, gpu="held out", device="NVIDIA")["inside"] == 1
    assert one(table, distribution="out")["n"] == 3 and one(table, device=UNSEEN)["n"] == 3


def test_position_is_in_half_widths_of_the_side_it_lies_on():
    errors = cells([8.0, 12.5, 10.0, 12.5**2 / 10, 6.4])
    found = interval_cells(errors, [intervals(errors)]).sort_values("batch_size")["position"]
    assert list(found) == pytest.approx([-1, 1, 0, 2, -2])
    assert one(coverage_table(interval_cells(errors, [intervals(errors)]), 0.95))[
        "half_widths_needed"
    ] == pytest.approx(2)


def test_no_claim_no_row_and_four_gpus_are_left_out():
    errors = cells([9.0, 9.5])
    other = cells([9.0, 9.5], predictor="li")
    silent = intervals(other, None, None)
    both = pd.concat([errors, other, cells([9.0], option="dp4")], ignore_index=True)
    table = interval_cells(both, [intervals(errors), silent])
    assert set(table["predictor"]) == {"tilecast"} and len(table) == 2
    assert interval_cells(other, [silent]).empty and coverage_table(empty(INTERVAL_CELLS), 0.95).empty


def test_an_interval_table_with_a_foreign_column_is_refused():
    with pytest.raises(InputError, match="column sigma is not known"):
        check(intervals(cells([9.0])).assign(sigma=1), INTERVALS, "intervals.csv")


def test_kernel_errors_by_gpu_and_whether_it_was_trained_on():
    predictors = [(Constant("tilecast", 2.0, width=1.5), device_table()), (Constant("li", 2.0), device_table())]
    table = kernel_errors(kernels(ROWS), predictors)
    rows = {(r["predictor"], r["device"], r["gpu"]): r for r in table.to_dict("records")}
    assert len(rows) == len(table) == 10
    held = rows["tilecast", "all", "held out"]
    assert (held["n"], held["mape_percent"], held["bias_percent"]) == (2, 75, 25)
    assert held["coverage_percent"] == 0 and held["claimed_percent"] == 80
    assert rows["tilecast", A100, "in training"]["coverage_percent"] == 100
    assert rows["tilecast", "all", "all"]["coverage_percent"] == pytest.approx(100 / 3)
    assert np.isnan(rows["li", "all", "all"]["coverage_percent"]) and np.isnan(
        rows["li", "all", "all"]["claimed_percent"]
    )


def test_without_kernels_the_tables_are_empty():
    none = empty(KERNELS)
    assert kernel_errors(none, [(Constant("li", 1.0), device_table())]).empty
