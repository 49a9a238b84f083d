"""One GPU alone answers as one GPU of a system does, and as the whole model's trace does."""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import tilecast as tc
from tilecast.base.errors import InputError
from tilecast.hardware.device_file import load_device
from tilecast.models.registry import load_model, model_names
from tilecast.models.workload import Workload
from tilecast.multigpu.whole import step
from tilecast.predict.registry import load_predictor

STEPS: tuple[dict[str, Any], ...] = (
    {"sequence": 256, "batch": 4},
    {"phase": "decode", "context": 100, "batch": 8},
    {"mode": "training", "sequence": 128, "batch": 2},
    {"mode": "training", "sequence": 128, "optimizer": "adamw"},
)
WAYS = [*product(STEPS, ("fp32", "tf32", "fp16", "bf16"), ("eager", "fused"), ("eager", "compiled"))]
TRACED = {"bert_large", "qwen3_235b_a22b", "qwen3_30b_a3b"}  # whose training steps are shipped as kernels in part
ALONE = {"resnet50", "switchxl4", "switch_large_128"}  # never cut
MIXED = {
    "deepseek_v3",
    "gemma3_27b",
    "gpt_oss_120b",
    "kimi_k2",
    "llama4_maverick",
    "nemotron_h_56b",
}  # long traces
CUT = sorted(set(model_names()) - ALONE - MIXED)


def ways(model: str, count: int = 3) -> list[tuple[dict[str, Any], str, str, str]]:
    """Some ways to run a model, others for each; none that is traced for long."""
    able = [way for way in WAYS if "mode" not in way[0]] if model in TRACED else WAYS
    able = [way for way in able if "phase" not in way[0]] if model == "bert_large" else able
    return random.Random(model).sample(able, count)


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("model", CUT)
def test_a_gpu_is_a_system_of_one(model: str, count: int) -> None:
    for asked, dtype, attention, engine in ways(model, count):
        given = {"dtype": dtype, "attention": attention, "engine": engine, **asked}
        alone = tc.forecast(model, "A100-SXM-80GB", **given).values
        of_many = tc.forecast(model, system="dgx_a100", **given).values
        assert {**alone, "system": None} == {**of_many, "system": None}, given


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt2", "llama31_8b", "mixtral_8x7b", "opt_13"])
def test_a_step_is_that_of_the_whole_trace(model: str) -> None:
    """Layers that stand for each other launch what the model launches, in mixed precision too."""
    known, gpu = load_predictor("tilecast"), load_device("A100-SXM-80GB")
    for asked, dtype, attention, engine in ways(model):
        given = {"sequence": 1, "dtype": dtype, "attention": attention, **asked}
        found = tc.forecast(model, gpu.name, engine=engine, **given)
        whole, _ = step(Workload(load_model(model), fused=engine == "compiled", **given), gpu, known, "any")
        assert found.latency_ms == pytest.approx(whole.latency_ms, rel=1e-9), given


def test_what_is_never_cut_runs_on_one_gpu_of_a_system_too() -> None:
    alone = tc.forecast("resnet50", "V100", batch=8)
    assert alone.values["dtype"] == "fp16" and alone.values["attention"] == "eager"
    assert alone.values["sequence_length"] == 0 and "inputs/s" in alone.text()
    assert (
        tc.forecast("resnet50", "A100-SXM-80GB").latency_ms
        == tc.forecast("resnet50", system="dgx_a100").latency_ms
    )
    with pytest.raises(InputError, match="does not describe a transformer"):
        tc.forecast("resnet50", system="dgx_a100", tp=2)


def test_what_is_of_one_gpu_too_needs_no_system(tmp_path: Path) -> None:
    run: dict[str, Any] = {"mode": "training", "batch": 8, "sequence": 512, "optimizer": "adamw"}
    plain = tc.forecast("gpt2", "H100", **run)
    small = tc.forecast("gpt2", "H100", microbatch=2, recompute="full", tokens=1e9, **run)
    assert small.values["microbatches"] == 4 and small.memory_bytes < plain.memory_bytes
    assert small.values["parts_ms"]["recompute"] > 0 and small.values["cost"]["training_run"]["hours"] > 0
    tc.forecast("gpt2", "H100", timeline=str(tmp_path / "step.json"), **run)
    assert (tmp_path / "step.json").stat().st_size
    with pytest.raises(InputError, match="--tp: needs a system"):
        tc.forecast("gpt2", "H100", tp=2)


def test_defaults_are_those_of_an_engine_and_eager_is_asked_for() -> None:
    given = {"phase": "decode", "context": 512}
    engine = tc.forecast("llama2_7b", "A100", **given)
    chosen = ("dtype", "attention", "engine", "host")
    assert [engine.values[name] for name in chosen] == ["bf16", "fused", "compiled", None]
    eager = tc.forecast("llama2_7b", "A100", engine="eager", **given)
    assert engine.latency_ms < 0.6 * eager.latency_ms
    hosts = {name: tc.forecast("llama2_7b", "A100", engine="eager", host=name, **given) for name in
             ("new", "fast", "usual", "slow")}  # fmt: skip
    times = [one.latency_ms for one in hosts.values()]
    assert times == sorted(times) and times[0] < times[-1]
    low, high = eager.interval_ms or (0.0, 0.0)
    assert low < times[0] and times[2] == eager.latency_ms and times[-1] < high * 1.01
    usual = hosts["usual"].interval_ms or (0.0, 0.0)
    assert low < usual[0] < usual[1] < high
    with pytest.raises(InputError, match="--host: launches nothing of compiled kernels"):
        tc.forecast("gpt2", "A100", host="new")
    with pytest.raises(InputError, match="is not forecast by roofline"):
        tc.forecast("gpt2", "A100", engine="eager", host="new", predictor="roofline")


def test_products_of_one_input_are_one_where_an_engine_runs_them() -> None:
    """Queries, keys and values; gate and up: as wide as their parts together."""
    top = tc.forecast("llama3_8b", "H100").values["top"]
    assert {4096 + 2 * 1024, 2 * 14336} <= {row["n"] for row in top}
    eager = tc.forecast("llama3_8b", "H100", engine="eager").values["top"]
    assert 14336 in {row["n"] for row in eager} and 2 * 14336 not in {row["n"] for row in eager}
