"""Figures of the predictors: findings computed from the rows, counts in captions, the same bytes twice."""

import json

import pandas as pd
import pytest
from pictures import save
from small_forecasts import UNSEEN, cells, intervals

from tilecast.evaluate.coverage import coverage_table, interval_cells
from tilecast.present.figures import bounds, calibration, leave_one_out, modern_serving
from tilecast.tables.declared.evaluation import COVERAGE, INTERVAL_CELLS
from tilecast.tables.declared.predict import BREAKDOWN, LOGO
from tilecast.tables.io import check, empty


def calibrated(measured=(9.0, 20.0, 9.5, 10.5, 11.0)):
    errors = cells(measured)
    inside = interval_cells(errors, [intervals(errors)])
    return calibration.draw(coverage_table(inside, 0.95), inside)


def left_out(ours=12.0):
    rows = [
        {"predictor": name, "family": family, "device": device, "n": 7, "mape_percent": value}
        for name, value in (("roofline", 40.0), ("tilecast", ours))
        for family in ("bmm", "linear", "norm")
        for device in ("Tesla_T4", "Tesla_P4")
    ]
    return check(pd.DataFrame(rows), LOGO, "logo")


def bounded(bandwidth=30.0, option="none"):
    cell = {"predictor": "tilecast", "mode": "inference", "sequence_length": 512, "option": option}
    rows = [
        cell | {"device": device, "model": model, "batch_size": batch, "family": "bmm", "bound": bound}
        | {"latency_ms": share * batch}
        for device in ("Tesla_T4", UNSEEN)
        for model in ("bert_large", "gpt2_large", "opt_13")
        for batch in (1, 2)
        for bound, share in (("compute", 100 - bandwidth), ("bandwidth", bandwidth if device == UNSEEN else 1.0))
    ]  # fmt: skip
    return check(pd.DataFrame(rows), BREAKDOWN, "breakdown")


def test_calibration_says_what_was_held():
    picture = calibrated()
    assert "80 % intervals hold 80 %" in picture.title
    assert "50 % on GPUs seen in training, 100 % on unseen ones" in picture.title
    assert picture.n == 5 and "over 5 measured plain cells" in picture.caption
    assert "V100 1 of 2" in picture.alt
    assert [text.get_text() for text in picture.figure.axes[1].texts] == [
        "cells of these groups: their GPUs' rows below"
    ]


def test_a_measurement_far_off_is_drawn_at_the_edge_and_counted():
    picture = calibrated((9.0, 900.0, 9.5, 10.5, 11.0))
    shown = [line.get_xdata() for line in picture.figure.axes[1].lines if line.get_marker() == "o"]
    assert max(max(x) for x in shown) == calibration.WIDEST
    assert any("1 beyond" in text.get_text() for text in picture.figure.texts)


def test_serving_names_the_models_behind_a_gpus_far_misses_only_where_there_are_many():
    def drawn(far: int) -> str:
        rows = [("small", 30.0)] * far + [("large", 11.0)] * (20 - far)
        points = pd.DataFrame(rows, columns=["model", "ttft_ms"]).assign(
            point="p", device="NVIDIA_H200", kind="dense", left_out=True, framework="vllm", precision="fp8"
        )
        same = dict.fromkeys(("prompt", "output", "concurrency", "tp"), 1)
        return modern_serving.draw(
            points.assign(**same, measured_ttft_ms=10.0, measured_tpot_ms=1.0, tpot_ms=1.0)
        ).caption

    assert "the 3 first tokens that miss by over 100 % are 3 of small (vllm)" in drawn(3)
    assert "without these models it is 10 % (n = 17)" in drawn(3)
    assert "miss by over" not in drawn(2)


def test_leave_one_out_names_the_least_error_and_who_is_missing():
    picture = leave_one_out.draw(left_out())
    assert picture.title == "On a GPU left out, Tilecast errs by 12 % a kernel, Roofline (ours) by 40 %"
    assert picture.n == 42 and "NeuSight (ours)" in picture.caption
    assert leave_one_out.draw(left_out(50.0)).title.startswith("On a GPU left out, Roofline (ours)")


def test_a_predictor_of_some_families_only_does_not_win():
    some = pd.DataFrame(
        [{"predictor": "habitat", "family": "bmm", "device": "Tesla_T4", "n": 7, "mape_percent": 1.0}]
    )
    picture = leave_one_out.draw(pd.concat([left_out(), some], ignore_index=True))
    assert picture.title.startswith("On a GPU left out, Tilecast") and "habitat" in set(picture.data["predictor"])


def test_a_record_without_its_kernels_is_not_drawn():
    assert leave_one_out.draw(left_out().assign(n=0)).reason == "needs the full artifact"


def test_bounds_are_shares_of_a_hundred():
    picture = bounds.draw(bounded())
    total = picture.data.groupby(["device", "model"])["share_percent"].sum()
    assert total.to_list() == pytest.approx([100] * 6)
    assert "bandwidth most, 30 %" in picture.title and "on H100" in picture.title
    assert picture.n == 12 and bounds.draw(bounded(60.0)).title != picture.title
    assert bounds.draw(bounded(option="fusion")).reason


@pytest.mark.parametrize(
    "picture",
    [
        calibration.draw(empty(COVERAGE), empty(INTERVAL_CELLS)),
        leave_one_out.draw(empty(LOGO)),
        bounds.draw(empty(BREAKDOWN)),
    ],
)
def test_without_rows_the_figure_says_so(picture, tmp_path):
    about = json.loads(save(picture, tmp_path)["about"].read_text())
    assert about["n"] == 0 and about["reason"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "draw",
    [
        calibrated,
        lambda: leave_one_out.draw(left_out()),
        lambda: bounds.draw(bounded()),
    ],
)
def test_same_bytes_twice(draw, tmp_path):
    first, second = (save(draw(), tmp_path / run) for run in ("a", "b"))
    for kind in first:
        assert first[kind].read_bytes() == second[kind].read_bytes(), kind
