"""The experts study against measurements of others: all-to-all exchanges, offloaded experts, stated gains."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tilecast.base.errors import InputError
from tilecast.evaluate.experts import all_to_all, all_to_all_errors, anchors, gains, load_anchors
from tilecast.moe.step import Serving, spread
from tilecast.moe.study import Inputs, decoder
from tilecast.tables.declared.moe import ALLTOALL_MEASUREMENTS
from tilecast.tables.io import read

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def exchanges() -> pd.DataFrame:
    return all_to_all(read(ROOT / "resources/published/moe_alltoall.csv", ALLTOALL_MEASUREMENTS))


def test_all_to_all_is_within_the_bar_without_having_been_fitted(exchanges: pd.DataFrame) -> None:
    errors = all_to_all_errors(exchanges).set_index(["links", "kernel", "sizes"])
    assert errors.loc[("NVLink", "all", "in use"), "mape_percent"] <= 15
    assert errors.loc[("NVLink", "all", "all"), "mape_percent"] <= 15
    assert errors.loc[("NVLink", "all", "all"), "n"] == 54 and len(exchanges) == 70
    counted = exchanges[exchanges["in_use"] & (exchanges["links"] == "NVLink")]["error_percent"].abs()
    assert errors.loc[("NVLink", "all", "in use"), "mape_percent"] == pytest.approx(counted.mean())
    ratio = exchanges["predicted_us"] / exchanges["measured_us"]
    assert exchanges["error_percent"].tolist() == pytest.approx((100 * (ratio - 1)).tolist())


ANCHORS = ROOT / "resources/published/moe_anchors.yaml"


def of_the_file(tmp_path: Path, *names: str) -> Path:
    """The shipped file with the anchors named alone."""
    content = yaml.safe_load(ANCHORS.read_text())
    content["anchors"] = [entry for entry in content["anchors"] if entry["id"] in names]
    content["gains"] = [
        entry for entry in content["gains"] if {entry.get("before"), entry.get("after")} <= {*names}
    ]
    path = tmp_path / "anchors.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_published_times_of_one_system_and_the_part_of_prefetching(tmp_path: Path) -> None:
    """MoE-Infinity and Accelerate on one GPU: nothing of the model was fitted to either."""
    pytest.importorskip("torch")
    path = of_the_file(tmp_path, "infinity-mixtral", "accelerate-mixtral")
    found = anchors(path)
    assert (found["factor"] <= 1.5).all() and found["judged"].all()
    assert (found["fastest_ms"] <= found["forecast_ms"]).all() and (
        found["forecast_ms"] <= found["slowest_ms"]
    ).all()
    ratio = found["measured_ms"] / found["forecast_ms"]
    assert found["factor"].tolist() == pytest.approx(ratio.where(ratio > 1, 1 / ratio).tolist())
    nearest = found["measured_ms"].clip(found["fastest_ms"], found["slowest_ms"])
    assert found["measured_over_model"].tolist() == pytest.approx((found["measured_ms"] / nearest).tolist())
    kept = [
        decoder(entry.model, None, entry.device, "a100_sxm", Inputs()).place(spread(1, 1), 1, Serving())
        for entry in load_anchors(path).anchors
    ]
    # within a tenth: each source has its own context
    assert found["kept_share"].tolist() == pytest.approx([place.resident_share for place in kept], rel=0.1)
    (gain,) = gains(path, found).to_dict("records")
    assert gain["model_gain"] == pytest.approx(gain["gain"], rel=0.3)
    assert 1 <= gain["prefetching_low"] <= gain["prefetching_high"] < 1.5  # most of it is not prefetching


def test_a_system_held_against_itself_without_prefetching(tmp_path: Path) -> None:
    """Speculating Experts: 1.16 stated; the model's range over what is not stated holds it."""
    pytest.importorskip("torch")
    content = yaml.safe_load(ANCHORS.read_text())
    content |= {"anchors": [], "gains": [entry for entry in content["gains"] if "prefetching" in entry]}
    path = tmp_path / "anchors.yaml"
    path.write_text(yaml.safe_dump(content))
    (row,) = gains(path, pd.DataFrame({"id": []})).to_dict("records")
    assert 1 <= row["prefetching_low"] <= row["gain"] <= row["prefetching_high"] <= 2
    assert row["prefetching_low"] <= row["model_gain"] <= row["prefetching_high"] and row["kept_share"] == 0
    content["gains"][0]["prefetching"]["method"] = "unheard-of"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="'unheard-of' is named and not described"):
        gains(path, pd.DataFrame({"id": []}))


@pytest.mark.exhaustive
def test_six_of_eight_published_times_are_within_two_and_the_others_say_why() -> None:
    pytest.importorskip("torch")
    found = anchors(ANCHORS)
    judged = found[found["judged"]]
    near = judged["factor"] <= 2
    assert len(judged) == 8 and near.sum() == 6
    assert (judged.loc[~near, "difference"] != "").all()


def test_a_bad_file_of_anchors_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "anchors.yaml"
    bad.write_text("anchors: [{gpu: none}]")
    with pytest.raises(InputError, match="anchor 1: unknown key `gpu`"):
        anchors(bad)
