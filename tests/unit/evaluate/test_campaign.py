"""What a campaign settles, computed from the record of a played GPU whose times are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("torch")

from scripted_cuda import Layer, scripted

from tilecast.evaluate.campaign import (
    against_labels,
    against_scenarios,
    constants,
    readings,
)
from tilecast.evaluate.scenarios import read_scenarios
from tilecast.measure.describe import describe, write_description
from tilecast.measure.models import DEFAULTS, title
from tilecast.measure.stages import LAUNCHES
from tilecast.measure.store import Run
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.measured import LIVE, PLANNED_MODELS
from tilecast.tables.io import check, write

NAME = "NVIDIA_H100_80GB_HBM3"
ROOT = Path(__file__).resolve().parents[3]


def timed(milliseconds: float) -> dict[str, Any]:
    return {
        "latency_ms": milliseconds, "low_ms": milliseconds, "high_ms": milliseconds, "repetitions": 5,
        "outcome": "measured",
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An H100 whose every time this test made up: they lie in this folder and nowhere else."""
    backend = scripted(Layer("NVIDIA H100 80GB HBM3"))
    place = tmp_path / NAME
    write_description(describe(backend), place / "description.json")
    training = DEFAULTS | {
        "model": "bert_large", "mode": "training", "phase": "step", "sequence_length": 512, "batch_size": 2,
    }  # fmt: skip
    llama = DEFAULTS | {
        "model": "llama2_7b",
        "sequence_length": 2048,
        "dtype": "bf16",
        "attention": "fused",
        "execution": "graphs",
    }
    alone = training | {"mode": "inference", "phase": "prefill"}
    forecast = [work | {"predictor": "tilecast", "predicted_ms": 50.0} for work in (training, llama)]
    plan = pd.DataFrame(forecast).assign(predicted_low_ms=40.0, predicted_high_ms=60.0)
    write(plan[list(PLANNED_MODELS.columns)], place / "forecasts-models.parquet", PLANNED_MODELS)
    run = Run(backend, place, "models", {})
    run.add(training | timed(80.0) | {"passport": "measured"})
    run.add(llama | timed(40.0) | {"passport": "measured"})
    run.add(alone | timed(30.0) | {"passport": "measured"})
    run.save("complete")
    run = Run(backend, place, "readings", {})

    def add(
        stage: str, item: str, variant: str, milliseconds: float, amount: float | None = None, **more: Any
    ) -> None:
        row = {"stage": stage, "item": item, "variant": variant, "place": 0, "dtype": "", "amount": amount}
        run.add(row | timed(milliseconds) | {"unit": "FLOP" if amount else None} | more)

    add("cells", title(training), "forward", 28.0)
    add("cells", title(training), "backward", 44.0)
    add("cells", title(alone), "forward", 26.0)
    add("peaks", "product bf16", "rested", 1.0, 0.8 * 989.4e9)
    for place_ in range(4):  # the clock falls after two samples
        add("peaks", "product bf16", "sustained", 1.0 if place_ < 2 else 1.136, 0.8 * 989.4e9, place=place_)
        add("peaks", "product fp32", "sustained", 1.0, 0.5 * 66.9e9, place=place_)
    add("launches", "elementwise add", "host", 2.0, LAUNCHES)
    add("launches", "elementwise add", "graph", 0.3, LAUNCHES)
    run.add({"stage": "peaks", "item": "product fp8", "variant": "rested", "place": 0, "repetitions": 0,
             "outcome": "failed", "reason": "no such product"})  # fmt: skip
    run.save("complete")
    return place


def test_labels_stand_beside_both_rules_of_this_gpu(folder: Path) -> None:
    row = {
        "device": NAME, "model": "bert_large", "mode": "training", "sequence_length": 512, "batch_size": 2,
        "option": "none", "latency_ms": 74.751, "forward_ms": 29.458, "backward_ms": 45.293, "layers": 24,
        "source": "x",
    }  # fmt: skip
    others = [row | {"device": "Tesla_T4"}, row | {"mode": "inference", "backward_ms": None}]
    labels = check(pd.DataFrame([row, *others]), LABELS, "labels")
    found = check(against_labels(folder, labels), LIVE["labels"], "found")
    one = found.iloc[0]
    assert found["harness_ms"].tolist() == [72.0, 26.0] and one["measured_ms"] == 80.0
    assert one["harness_percent"] == pytest.approx(100 * (74.751 / 72 - 1))
    assert one["measured_percent"] == pytest.approx(100 * (74.751 / 80 - 1))
    assert against_labels(folder, labels[labels["device"] == "Tesla_T4"]).empty


def test_a_scenario_on_one_gpu_gets_the_truth_that_was_measured_here(folder: Path) -> None:
    found = against_scenarios(folder, read_scenarios(ROOT / "config/studies/scenarios.yaml"))
    found = check(found, LIVE["scenarios_here"], "found")
    assert list(found["id"]) == ["I1.1 prefill 2048"]
    assert found["ape_percent"].iloc[0] == pytest.approx(25.0) and found["execution"].iloc[0] == "graphs"


def test_constants_are_settled_or_refuted_by_what_was_measured(folder: Path) -> None:
    found = check(constants(folder), LIVE["constants"], "found").set_index("constant")
    throttled = found.loc["bf16 products without a rest, of those after one"]
    assert throttled["measured"] == pytest.approx(1.136) and throttled["verdict"] == "settled"
    wide = found.loc["share of peak, long fp32 products: issue limit of 128 lanes"]
    assert wide["measured"] == pytest.approx(0.5, rel=1e-3) and wide["verdict"] == "refuted"
    assert found.loc["ms to launch add", "measured"] == pytest.approx(0.02)
    assert found.loc["ms of a kernel with nothing to do in a CUDA graph", "verdict"] == "settled"
    assert not [name for name in found.index if "PCIe" in name or "attention" in name]  # not measured, so no row


def test_what_failed_and_what_was_not_measured_is_no_figure(folder: Path, tmp_path: Path) -> None:
    assert "product fp8" not in set(readings(folder)["item"])
    bare = tmp_path / "NVIDIA_H200"
    write_description(describe(scripted(Layer())), bare / "description.json")
    assert constants(bare).empty and against_scenarios(bare, []).empty
