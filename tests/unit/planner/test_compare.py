"""Comparisons and recommendations: what they choose is what the serving model says, and keeps the targets."""

from __future__ import annotations

import pytest

import tilecast as tc
from tilecast.hardware.device_file import load_device
from tilecast.multigpu.layout import Layout
from tilecast.planner.compare import system_of
from tilecast.planner.launch import training


def test_a_row_is_what_serve_answers_and_says_why_one_has_no_figures() -> None:
    found = tc.compare(["llama3_8b", "llama3_70b"], ["A100", "H100"], ["bf16", "fp8"], input=512, output=32)
    rows = {(row["model"], row["device"], row["dtype"]): row for row in found.rows()}
    assert "has no rate of fp8 products" in rows["llama3_8b", "A100-SXM-80GB", "fp8"]["why_not"]
    one = rows["llama3_8b", "H100", "bf16"]
    best = tc.serve("llama3_8b", "H100", input=512, output=32).best
    assert best is not None and one["gpus"] == 1
    assert one["output_tokens_per_s"] == best["output_tokens_per_s"]
    joules = one["joules_per_token"]
    assert joules == best["joules_per_token"] and joules["low"] < joules["mean"] < joules["high"]
    assert 0.787 * 700 < joules["mean"] * best["output_tokens_per_s"]["mean"] < 0.8251 * 700
    assert [rows["llama3_70b", "H100", dtype]["gpus"] for dtype in ("bf16", "fp8")] == [2, 1]
    narrow = tc.compare("llama3_70b", "H100", weight_dtype="int4", kv_dtype="fp8", input=512, output=32).rows()[0]
    served = tc.serve("llama3_70b", "H100", weight_dtype="int4", kv_dtype="fp8", input=512, output=32).best
    assert served is not None and (narrow["gpus"], narrow["dtype"]) == (1, "bf16, int4 weights, fp8 cache")
    assert narrow["output_tokens_per_s"] == served["output_tokens_per_s"]
    none = tc.compare("llama3_70b", "H100", ttft_ms=0.001)
    assert not none.fits and "keeps the bounds on no load" in none.rows()[0]["why_not"]


def test_a_recommendation_keeps_the_targets_with_the_fewest_gpus() -> None:
    asked = {"model": "llama3_8b", "devices": ["H100", "B200"], "rate": 40, "input": 512, "output": 64}
    found = tc.recommend(**asked, ttft_ms=100, tpot_ms=12)  # type: ignore[arg-type]
    rows = found.rows()
    assert [row["gpus"] for row in rows] == sorted(row["gpus"] for row in rows)
    assert all(row["ttft_ms"] <= 100 and row["tpot_ms"] <= 12 for row in rows)
    assert rows[0]["gpus"] <= tc.recommend(**asked, ttft_ms=50, tpot_ms=8).rows()[0]["gpus"]  # type: ignore[arg-type]
    best = rows[0]
    assert f"--tensor-parallel-size {best['tp']} " in found.values["launch"]["vLLM"]
    again = tc.serve(
        "llama3_8b", best["device"], system=system_of(load_device(best["device"])).name,  # type: ignore[union-attr]
        rate=40, dp=best["servers"], tp=best["tp"], input=512, output=64,
    )  # fmt: skip
    assert again.values["loads"][0]["ttft_ms"]["mean"] == pytest.approx(best["ttft_ms"])
    cheap = tc.recommend(**asked, objective="dollars").rows()  # type: ignore[arg-type]
    assert [row["usd_per_hour"] for row in cheap] == sorted(row["usd_per_hour"] for row in cheap)
    assert not tc.recommend("llama3_8b", "H100", 5, ttft_ms=0.01).fits


def test_a_server_in_a_format_of_the_checkpoint_says_so() -> None:
    asked = {"model": "llama3_8b", "devices": ["H100"], "rate": 5, "input": 512, "output": 32}
    words = [
        tc.recommend(**asked, **more).values["launch"]["vLLM"]  # type: ignore[arg-type]
        for more in ({}, {"formats": ["fp8"]}, {"weight_dtype": "int4", "kv_dtype": "fp8"})
    ]
    assert "#" not in words[0] and words[1].endswith("--quantization fp8")
    assert words[2].endswith("--kv-cache-dtype fp8  # MODEL: a checkpoint in int4")


def test_a_layout_is_launched_where_a_framework_can_express_it() -> None:
    layout = Layout(dp=4, tp=8, pp=2, microbatch=2, sequence_parallel=True, recompute="full")
    words = training(layout, 64, 4096)
    assert "--tensor-model-parallel-size 8 --pipeline-model-parallel-size 2" in words["Megatron-LM"]
    assert "--sequence-parallel" in words["Megatron-LM"] and "--recompute-granularity full" in words["Megatron-LM"]
    assert "--parallelism.data_parallel_replicate_degree 4" in words["torchtitan"]
    sharded = training(Layout(dp=8, zero=3), 64, 4096)
    assert sharded["Megatron-LM"] == "" and "data_parallel_shard_degree 8" in sharded["torchtitan"]
    assert training(Layout(dp=8, zero=1), 64, 4096)["torchtitan"] == ""
