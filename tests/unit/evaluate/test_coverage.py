"""Coverage of intervals and errors of held-out kernels, on cases small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.evaluate.coverage import coverage_table, interval_cells
from tilecast.evaluate.kernels import SWEEPS, kernel_errors, utilisation
from tilecast.hardware.device import devices_of_table
from tilecast.predict.kernel import forecast_frame
from tilecast.tables.declared.artifact import DEVICES, KERNELS
from tilecast.tables.declared.evaluation import INTERVAL_CELLS
from tilecast.tables.declared.predict import INTERVALS
from tilecast.tables.io import check, empty

CELL = {"model": "bert_large", "mode": "inference", "sequence_length": 512, "option": "none"}
SEEN, UNSEEN = "Tesla_V100-PCIE-32GB", "NVIDIA_H100_80GB_HBM3"


def cells(measured, predictor="tilecast", **other):
    """Errors of a predictor that says 10 ms of every cell: two on a seen GPU, the others on an unseen one."""
    rows = []
    for batch, value in enumerate(measured, 1):
        row = {"predictor": predictor, "device": SEEN if batch < 3 else UNSEEN, "batch_size": batch, **CELL}
        row |= {"measured_ms": value, "predicted_ms": 10.0, "ape_percent": abs(10 / value - 1) * 100}
        rows.append(row | {"distribution": "in" if batch < 3 else "out"} | other)
    return pd.DataFrame(rows)


def intervals(errors, low=8.0, high=12.5):
    key = ["predictor", "device", "model", "mode", "sequence_length", "batch_size", "option"]
    return check(errors[key].assign(low_ms=low, high_ms=high), INTERVALS, "intervals")


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


class Constant:
    """Forecasts one latency for everything, with an interval or without."""

    def __init__(self, name, latency_ms, width=None):
        self.name, self.latency_ms, self.width = name, latency_ms, width

    def predict(self, kernels, device):
        assert kernels["isolated"].all()  # measured one at a time: a launch may be counted
        frame = forecast_frame(kernels, np.full(len(kernels), self.latency_ms), np.full(len(kernels), "compute"))
        if self.width:
            frame = frame.assign(low_ms=self.latency_ms / self.width, high_ms=self.latency_ms * self.width)
        return frame


def device_table():
    row = {
        "name": "x", "vendor": "NVIDIA", "memory_bytes": 8e10, "bandwidth_bytes_per_s": 1e12, "sm_count": 100,
        "cores_per_sm": 64, "clock_hz": 1e9, "fp32_flops_per_s": 1e13, "fp32_matrix_flops_per_s": 1e13,
        "l2_bytes": 4e7, "training_gpu": True, "source": "here",
    }  # fmt: skip
    names = ("NVIDIA_A100-PCIE-40GB", UNSEEN)
    return devices_of_table(check(pd.DataFrame([row | {"device": name} for name in names]), DEVICES, "devices"))


def kernels(rows):
    """Kernels of linear layers: (device, split, m, latency)."""
    shape = {"family": "linear", "op": "linear", "dtype": "fp32", "b": 1, "n": 1024, "k": 1024}
    blank = {"kernel_name": None, "grid": 0, "grid_x": 0, "grid_y": 0, "grid_z": 0, "block": 0, "source": "here"}
    table = [
        shape | blank | {"device": device, "split": split, "m": m, "latency_ms": latency}
        for device, split, m, latency in rows
    ]
    return check(pd.DataFrame(table), KERNELS, "kernels")


A100 = "NVIDIA_A100-PCIE-40GB"
ROWS = [
    (A100, "train", 64, 9.0),
    (A100, "test", 512, 2.0),
    (UNSEEN, "test", 512, 1.0),
    (UNSEEN, "test", 1024, 4.0),
]


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


def test_utilisation_is_work_over_time_over_peak():
    table = utilisation(kernels(ROWS), device_table(), [(Constant("tilecast", 2.0), device_table())])
    at = table[(table["device"] == UNSEEN) & (table["size"] == 1024)].set_index("source")
    share = 100 * 2 * 1024**3 / 4e-3 / 1e13
    assert at.loc["measured", "share_percent"] == pytest.approx(share)
    assert at.loc["tilecast", "share_percent"] == pytest.approx(2 * share)
    assert set(table["gpu"]) == {"in training", "held out"}
    sizes = table[(table["device"] == UNSEEN) & (table["source"] == "tilecast")]["size"]
    assert sizes.min() == 512 and sizes.max() == 1024 and len(sizes) > 100


def test_without_kernels_the_tables_are_empty():
    none = empty(KERNELS)
    assert kernel_errors(none, [(Constant("li", 1.0), device_table())]).empty
    assert utilisation(none, device_table(), []).empty
    assert set(SWEEPS) == {"linear", "bmm"}
