"""Errors of serving forecasts, on points small enough to count by hand."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tilecast.artifact.aiconfigurator_tables import Archive
from tilecast.evaluate.serving import MECHANISMS, anchor_errors, point_forecasts, serving_ablation, serving_errors
from tilecast.hardware.device_file import devices
from tilecast.models.registry import load_model
from tilecast.predict.half_precision import shipped


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


DENSE = {
    "device": "NVIDIA_H100_80GB_HBM3", "sweep": True, "model": "meta-llama/Llama-3.1-8B-Instruct",
    "framework": "vllm", "precision": "bf16", "gemm_dtype": "bf16", "moe_dtype": "bf16", "prompt": 512,
    "output": 16, "concurrency": 4.0, "tp": 1, "moe_ep": np.nan, "attention_dp": np.nan, "ttft_ms": 50.0,
    "tpot_ms": 9.0,
}  # fmt: skip


def wheel(folder: Path) -> Archive:
    """The published package with the configurations of two models."""
    with zipfile.ZipFile(folder / "wheel.zip", "w") as package:
        for theirs, ours in (
            ("meta-llama--Meta-Llama-3.1-8B", "llama3_8b"),
            ("Qwen--Qwen3-235B-A22B", "qwen3_235b_a22b"),
        ):
            values = load_model(ours).values
            package.writestr(f"aiconfigurator_core/model_configs/{theirs}_config.json", json.dumps(dict(values)))
    return Archive(folder / "wheel.zip")


def test_what_each_mechanism_of_the_replay_does_is_told(tmp_path: Path) -> None:
    rows = [DENSE | {"point": name, "framework": name, "concurrency": 32.0} for name in ("vllm", "sglang")]
    points, package = pd.DataFrame(rows), wheel(tmp_path)
    views = point_forecasts(points, package, shipped(), devices(), True, MECHANISMS)
    table = serving_ablation(views).set_index("without")
    assert (table["n"] == 2).all() and (table["kind"] == "dense").all() and len(table) == len(MECHANISMS)
    errors = (views["nothing"]["tpot_ms"] / 9 - 1).abs()
    assert table.loc["nothing", "tpot_percent"] == pytest.approx(100 * errors.mean())
    same = (table.drop(columns="kind") == table.drop(columns="kind").loc["nothing"]).all(axis=1)
    changed = ("a client's third pass until its next request", "SGLang's prompts first")
    assert {words: bool(equal) for words, equal in same.items()} == {
        words: words not in changed for words in table.index
    }


def test_points_are_forecast_whose_model_and_layout_are_known(tmp_path: Path) -> None:
    mixture = DENSE | {"model": "Qwen/Qwen3-235B-A22B-FP8", "tp": 8}
    rows = {
        "dense": DENSE, "split": mixture, "spread": mixture | {"moe_ep": 8.0},
        "unknown": DENSE | {"model": "else"}, "copies": DENSE | {"attention_dp": 2.0},
        "trace": DENSE | {"concurrency": np.nan}, "wide": DENSE | {"tp": 16},
        "elsewhere": DENSE | {"device": "NVIDIA_L40S"},
    }  # fmt: skip
    points = pd.DataFrame([row | {"point": name} for name, row in rows.items()])
    found = point_forecasts(points, wheel(tmp_path), shipped(), devices(), left_out=True)["nothing"]
    table = found.set_index("point")
    assert table["kind"].to_dict() == {"dense": "dense", "split": "mixture", "spread": "mixture"}
    assert (table["measured_tpot_ms"] == 9).all() and table["left_out"].all()
    assert table.loc["dense", "collectives_ms"] == 0 < table.loc["split", "collectives_ms"]
    assert table.loc["split", "tpot_ms"] != table.loc["spread", "tpot_ms"] > 0
