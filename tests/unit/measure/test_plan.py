"""The order of measuring: least sure first, families in turns; every forecast written down once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.hardware.device_file import load_device
from tilecast.measure.grid import FAMILIES, grid, with_work
from tilecast.measure.models import workload
from tilecast.measure.store import digest
from tilecast.predict.plan import KEPT, order, plan_kernels, write_kernel_plan, write_model_plan
from tilecast.predict.registry import load_predictor
from tilecast.tables.declared.measured import PLANNED_KERNELS, PLANNED_MODELS
from tilecast.tables.io import check, read


def said(latency: np.ndarray, width: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"latency_ms": latency, "high_ms": latency * np.exp(width)})


def test_where_predictors_disagree_comes_first_among_kernels_alike() -> None:
    kernels = with_work(pd.concat([grid(["fp32"], ["softmax"], each=1)] * 6, ignore_index=True))
    apart = np.array([1.0, 5.0, 2.0, 9.0, 3.0, 1.5])
    rank = order(kernels, {"one": said(np.ones(6)), "other": said(apart)})
    assert list(np.argsort(rank)) == [3, 1, 4, 2, 5, 0]
    wide = order(kernels, {"one": said(np.ones(6)).assign(high_ms=apart)})
    assert list(np.argsort(wide)) == [3, 1, 4, 2, 5, 0]


@pytest.fixture(scope="module")
def plan() -> pd.DataFrame:
    kernels = grid(["fp32", "bf16"], each=12)
    return plan_kernels(kernels, load_device("H200"), [load_predictor(name) for name in ("tilecast", "roofline")])


def test_families_and_formats_take_turns(plan: pd.DataFrame) -> None:
    check(plan, PLANNED_KERNELS, "plan")
    one = plan[plan["predictor"] == "tilecast"].sort_values("rank")
    assert list(one["rank"]) == list(range(len(one)))
    first = one.head(2 * len(FAMILIES))
    assert set(zip(first["family"], first["dtype"])) == {(f, d) for f in FAMILIES for d in ("fp32", "bf16")}


def test_both_predictors_forecast_every_kernel(plan: pd.DataFrame) -> None:
    assert sorted(plan["predictor"].unique()) == sorted(KEPT)
    assert plan.groupby("predictor").size().nunique() == 1
    assert plan.loc[plan["predictor"] == "tilecast", "predicted_high_ms"].notna().all()


def test_a_written_plan_is_the_same_bytes_and_is_not_renewed_unasked(tmp_path: Path) -> None:
    description = {"name": "NVIDIA_H200", "title": "H200", "known": "NVIDIA_H200"}
    options = (["fp32"], ["softmax"], 5, 0.1, True)
    paths = [write_kernel_plan(tmp_path / name, description, *options) for name in ("a", "b")]
    assert digest(paths[0]) == digest(paths[1])
    before = digest(paths[0])
    write_kernel_plan(tmp_path / "a", description, ["bf16"], ["bmm"], 5, 0.1, True, renew=False)
    assert digest(paths[0]) == before
    write_kernel_plan(tmp_path / "a", description, ["bf16"], ["bmm"], 5, 0.1, True)
    assert digest(paths[0]) != before


def test_models_are_forecast_once_and_further_ones_are_added(tmp_path: Path) -> None:
    description = {"name": "NVIDIA_H200", "title": "H200", "known": "NVIDIA_H200"}
    one, two = (workload({"model": "gpt2", "batch_size": batch, "sequence_length": 64}) for batch in (1, 2))
    path = write_model_plan(tmp_path, description, [one])
    first = digest(path)
    assert write_model_plan(tmp_path, description, [one]) == path and digest(path) == first
    write_model_plan(tmp_path, description, [one, two])
    found = read(path, PLANNED_MODELS)
    assert found["batch_size"].tolist() == [1] * len(KEPT) + [2] * len(KEPT)
