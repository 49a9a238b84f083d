"""What figures say about the rows they draw."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from tilecast.evaluate import findings


def test_the_share_of_forecasts_within_a_band_counts_its_edge() -> None:
    cells = pd.DataFrame({"predictor": ["a", "a", "a", "b"], "ape_percent": [20.0, 20.1, 3.0, 50.0]})
    assert findings.shares_within(cells, 20) == {"a": pytest.approx(200 / 3), "b": 0.0}


def test_a_mean_over_calls_weighs_each_row_by_its_count() -> None:
    sizes = pd.DataFrame({"predictor": ["a", "a"], "n": [1, 3], "mape_percent": [10.0, 2.0]})
    assert findings.mean_errors(sizes, ["predictor"]).to_dict("records") == [
        {"predictor": "a", "n": 4, "mape_percent": 4.0}
    ]


def test_the_noise_is_that_of_products_in_bf16() -> None:
    noise = pd.DataFrame(
        {"family": ["gemm", "gemm", "gemm", "decode"], "dtype": ["bf16", "bf16", "fp8", "bf16"],
         "mean_percent": [2.0, 4.0, 50.0, 60.0]}
    )  # fmt: skip
    assert findings.noise_floor(noise) == 3.0


def test_spreads_are_of_ratios_by_family_and_predictor() -> None:
    kernels = pd.DataFrame(
        {"family": "bmm", "predictor": "a", "predicted_ms": [1.0, 2.0, 4.0], "measured_ms": 2.0}
    )
    logs, reach = findings.log_ratios(kernels)
    assert reach == pytest.approx(3.0, rel=0.05)  # the widest two are a factor of two off
    low, middle, high = findings.spreads(logs, kernels)["bmm", "a"]
    assert middle == pytest.approx(1.0) and low == pytest.approx(2**-0.8) and high == pytest.approx(2**0.8)


def test_medians_leave_out_failed_compiled_and_narrow_runs() -> None:
    run = {"status": "ok", "device": "cuda", "dtype": "fp32", "compiled": False, "model": "m", "gpu": 0}
    run |= {"memory_node": 1, "samples_per_s": 10.0}
    runs = [run, run | {"samples_per_s": 30.0}, run | {"samples_per_s": 20.0}]
    runs += [run | {"samples_per_s": 999.0} | other for other in ({"status": "failed"}, {"compiled": True})]
    runs += [run | {"samples_per_s": 999.0} | other for other in ({"dtype": "bf16"}, {"device": "cpu"})]
    assert findings.median_rates(pd.DataFrame(runs))["samples_per_s"].tolist() == [20.0]


def test_nearly_all_leaves_one_in_two_hundred() -> None:
    values = pd.Series([float(value) for value in range(201)])
    assert findings.nearly_all(values) == 199.0 and math.isnan(findings.nearly_all(values[:0]))
