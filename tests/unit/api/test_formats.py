"""Number formats below 16 bits, by component: each takes effect, or is refused in one line."""

from __future__ import annotations

import functools
import operator
from typing import Any

import pytest

import tilecast as tc
from tilecast.api.forecast import Forecast
from tilecast.base.errors import InputError

DECODE: dict[str, Any] = {"phase": "decode", "context": 2048, "batch": 32}


@functools.cache
def decoding(model: str) -> Forecast:
    """A step in 16 bits."""
    return tc.forecast(model, "B200", **DECODE)


@pytest.mark.parametrize(
    "given",
    [
        {"dtype": "fp8"},
        {"dtype": "fp8_block"},
        {"dtype": "nvfp4"},
        {"weight_dtype": "int4"},
        {"weight_dtype": "int8"},
        {"weight_dtype": "fp8"},
        {"weight_dtype": "mxfp4"},
        {"kv_dtype": "fp8"},
        {"dtype": "fp8", "kv_dtype": "fp8"},
    ],
)
def test_a_narrow_format_saves_memory_and_time_of_decoding(given: dict[str, str]) -> None:
    for model in ("llama3_8b", "mixtral_8x7b"):
        wide, narrow = decoding(model), tc.forecast(model, "B200", **DECODE, **given)
        assert narrow.memory_bytes < wide.memory_bytes
        assert narrow.latency_ms < wide.latency_ms
        low, high = narrow.interval_ms or (0.0, 0.0)
        assert low < narrow.latency_ms < high
        assert next(iter(given.values())) in narrow.text().split("\n")[0]


@pytest.mark.parametrize("dtype", ["fp8", "fp8_block", "nvfp4"])
@pytest.mark.parametrize("work", [DECODE, {"sequence": 2048, "batch": 4}, DECODE | {"batch": 1}])
def test_a_narrow_product_and_its_narrowing_are_two_rows(dtype: str, work: dict[str, Any]) -> None:
    wide, narrow = (tc.forecast("llama3_8b", "B200", **work, dtype=name).values for name in ("bf16", dtype))
    shape = operator.itemgetter("b", "m", "n", "k")
    bf16 = {shape(row): row["latency_ms"] / row["count"] for row in wide["top"] if row["family"] == "linear"}
    alone = {shape(row): row["latency_ms"] / row["count"] for row in narrow["top"] if row["op"] == "product alone"}
    assert len(set(bf16) & set(alone)) >= 2
    assert all(0 < alone[one] <= bf16[one] * (1 + 1e-9) for one in set(bf16) & set(alone))
    assert narrow["classes_ms"]["linear"] <= wide["classes_ms"]["linear"] * (1 + 1e-9)
    assert narrow["classes_ms"]["narrowing"] > 0 and "narrowing" not in wide["classes_ms"]
    assert sum(narrow["classes_ms"].values()) == pytest.approx(narrow["parts_ms"]["compute"], rel=1e-6)


def test_formats_are_of_many_gpus_too_and_the_head_stays_wide() -> None:
    alone = tc.forecast("llama3_8b", "H100", dtype="fp8", **DECODE)
    assert alone.latency_ms == tc.forecast("llama3_8b", system="h100_sxm", dtype="fp8", **DECODE).latency_ms
    two = tc.forecast("llama3_8b", system="h100_sxm", tp=2, dtype="fp8", **DECODE)
    assert two.values["memory"]["parts"]["weights"] < 0.55 * alone.values["memory"]["parts"]["weights"]
    wide = tc.forecast("llama3_8b", "H100", **DECODE)
    head = [next(row["latency_ms"] for row in one.values["top"] if row["n"] == 128256) for one in (alone, wide)]
    assert head[0] == head[1]


def test_weights_alone_help_where_bytes_bind() -> None:
    prompt = {"sequence": 4096, "batch": 4}
    assert tc.forecast("llama3_8b", "A100", weight_dtype="int4", **prompt).latency_ms == pytest.approx(
        tc.forecast("llama3_8b", "A100", **prompt).latency_ms, rel=1e-3
    )


@pytest.mark.parametrize(
    ("device", "given", "words"),
    [
        ("A100", {"dtype": "fp8"}, "computes nothing in fp8; it computes in fp64, fp32, tf32, fp16, bf16, int8"),
        ("H100", {"dtype": "nvfp4"}, "computes nothing in fp4"),
        ("V100", {"dtype": "bf16"}, "computes nothing in bf16; it computes in fp64, fp32, fp16"),
        ("V100", {"weight_dtype": "int4"}, "which NVIDIA Tesla V100 PCIe 32 GB is not"),
        ("MI300X", {"dtype": "fp8"}, "fp8 was measured on NVIDIA GPUs"),
        ("A100", {"kv_dtype": "fp8"}, "computes nothing in fp8"),
        ("H100", {"dtype": "fp8", "mode": "training"}, "--dtype: fp8 is of inference"),
        ("H100", {"dtype": "fp8", "engine": "eager"}, "fp8 is run by engines"),
        ("H100", {"dtype": "fp8", "attention": "eager"}, "fp8 is run by engines"),
        ("H100", {"dtype": "fp8", "weight_dtype": "int4"}, "fp8 has weights of its own"),
        ("H100", {"dtype": "fp32", "kv_dtype": "fp8"}, "goes with 16 bits, not with fp32"),
        ("H100", {"dtype": "fp32", "kv_dtype": "bf16"}, "bf16 goes with 16 bits, not with fp32"),
        ("H100", {"dtype": "fp8", "predictor": "roofline"}, "tilecast's own weights alone"),
    ],
)
def test_what_has_no_effect_or_no_unit_is_refused(device: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tc.forecast("llama3_8b", device, **given)


def test_a_model_that_is_not_cut_has_no_narrow_forecast() -> None:
    with pytest.raises(InputError, match="cannot be cut, and is forecast from 16 bits up"):
        tc.forecast("switchxl4", "H100", weight_dtype="int8", attention="fused")
    with pytest.raises(InputError, match="int8 is run by engines"):
        tc.forecast("resnet50", "H100", weight_dtype="int8")


def test_the_search_takes_formats_of_each_component() -> None:
    case: dict[str, Any] = {"system": "h200_sxm", "gpus": 2, "mode": "inference", "objective": "ttft"}
    case |= {"sequence": 512, "output": 32}
    best = [tc.search("llama3_8b", **case, **more).best for more in ({}, {"dtype": "fp8"}, {"kv_dtype": "fp8"})]
    times = [one["ttft_ms"] for one in best if one]
    sizes = [one["memory_gb"] for one in best if one]
    assert times[1] < times[0] and sizes[2] < sizes[0]
    for more, words in (
        ({"moe_dtype": "fp8"}, "llama3_8b has no experts"),
        ({"mode": "training", "objective": "step_time", "kv_dtype": "fp8"}, "--kv-dtype: is of inference"),
        ({"mode": "training", "objective": "step_time", "dtype": "fp8"}, "fp8 is of inference"),
    ):
        with pytest.raises(InputError, match=words):
            tc.search("llama3_8b", **{**case, **more})


def test_weights_alone_of_a_mixture_are_not_served() -> None:
    with pytest.raises(InputError, match=r"--weight-dtype.*without experts.*--moe-dtype mxfp4"):
        tc.serve("mixtral_8x7b", "H100", tp=4, weight_dtype="int4")


def test_weights_alone_are_served_and_searched() -> None:
    load: dict[str, Any] = {"input": 512, "output": 32, "concurrency": 4}
    wide, narrow = (tc.serve("llama3_8b", "A100", **load, **more) for more in ({}, {"weight_dtype": "int4"}))
    held = [one.values["memory"]["servers"]["weights_bytes"] for one in (wide, narrow)]
    assert 0.3 * held[0] < held[1] < 0.5 * held[0]
    rows = [one.values["loads"][0] for one in (wide, narrow)]
    assert rows[1]["tpot_ms"]["mean"] < 0.7 * rows[0]["tpot_ms"]["mean"]
    assert rows[1]["unmeasured"] == ["weights widened as they are read"] and "low" not in rows[1]["tpot_ms"]
    case: dict[str, Any] = {"system": "dgx_a100", "gpus": 2, "mode": "inference", "objective": "ttft"}
    best = [tc.search("llama3_8b", **case, **more).best for more in ({}, {"weight_dtype": "int4"})]
    assert best[0] and best[1] and best[1]["memory_gb"] < best[0]["memory_gb"]
    for model, more in (("mixtral_8x7b", {}), ("llama3_8b", {"dtype": "fp8"})):
        with pytest.raises(InputError, match="int4 goes with --dtype bf16, in a model without experts"):
            tc.serve(model, "H100", weight_dtype="int4", **load, **more)
