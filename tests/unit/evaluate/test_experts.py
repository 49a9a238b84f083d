"""The experts study against measurements of others: all-to-all exchanges, offloaded experts, stated gains."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tilecast.base.errors import InputError
from tilecast.evaluate.experts import all_to_all, all_to_all_errors, anchors, gains
from tilecast.moe.step import Shares
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


def test_anchors_and_gains() -> None:
    path = ROOT / "resources/published/moe_anchors.yaml"
    found = anchors(path, Shares(matrix=0.60, memory=0.85, host=0.787), reserved_bytes=2e9).set_index(
        ["model", "gpu", "method"]
    )
    assert found.loc[("Mixtral-8x7B", "A5000", "prefetching"), "measured_over_model"] == 1
    assert (found["fastest_ms"] <= found["slowest_ms"]).all()
    assert "fits" in found.loc[("Qwen3-30B-A3B", "A100-80 PCIe", "on demand"), "placement"]
    stated = gains(path)
    assert not stated["overlap_alone_can_give_it"].any() and stated["gain"].min() > 2


def test_a_bad_file_of_anchors_is_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "anchors.yaml"
    bad.write_text("anchors: [{gpu: none}]")
    with pytest.raises(InputError, match="is not a file of anchors"):
        anchors(bad, Shares(1, 1, 1), 0)
