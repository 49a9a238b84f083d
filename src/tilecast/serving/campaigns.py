"""Measured serving campaigns: what their clients sent and how their servers were set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tilecast.serving.load import Lengths, Load
from tilecast.serving.passes import Formats
from tilecast.serving.replay import Batching


def formats_of(point: Mapping[str, Any]) -> Formats:
    """Number formats of a measured point; nothing stated means bf16 throughout."""
    # ASSUME: the cache is in fp8 where the weights are in fp8 or fp4, as the recipes of these benchmarks set it.
    stated = (str(point[name]) for name in ("gemm_dtype", "moe_dtype"))
    gemm, moe = (name if name in ("fp8", "fp8_block", "nvfp4") else "bf16" for name in stated)
    if "gpt-oss" in str(point["model"]):  # published in mxfp4; everything but the experts in bf16
        return Formats("bf16", "mxfp4", "bf16")
    return Formats(gemm, moe, "bf16" if gemm == "bf16" else "fp8")


def recipe(point: Mapping[str, Any]) -> tuple[Load, Batching]:
    """Client and server of a measured point, as far as the two campaigns publish their scripts.

    The open sweep (SemiAnalysisAI/InferenceX, benchmarks/*.sh): lengths between 0.8 and 1 of the longest, token
    budgets as set there; its TensorRT-LLM holds prompts back where prompt and output are of 1,024 tokens.
    The publisher's own (ai-dynamo/aiconfigurator, eval/benchmarks and generator/rule_plugin): equal lengths,
    budget 512 + prompt + 1500. Both send ten requests for each in flight.
    SGLang by its documented defaults: prompts first, 8,192 tokens a pass.
    """
    # ASSUME: the publisher deployed by the rules it publishes; which version of them its points had is not stated.
    # ASSUME: the open sweep's longest sequence on H200 is prompt + output + 200; gpt-oss's budget there is B200's.
    # ASSUME: measured times are means over a run; the sample file does not say.
    # ASSUME: a server that overlaps host and GPU has two passes under way when a client answers, any other one.
    sweep, framework = bool(point["sweep"]), str(point["framework"])
    prompt, output, share = float(point["prompt"]), float(point["output"]), 0.8 if point["sweep"] else 1.0
    load = Load(Lengths(prompt, share), Lengths(output, share), int(point["concurrency"]))
    if framework == "sglang":
        return load, Batching(8192, chunked=True, alone=True, late=3, reserves=False)
    if not sweep:
        batching = Batching(512 + prompt + 1500)
        return load, replace(batching, late=3) if framework == "trtllm" else replace(
            batching, chunked=True, reserves=False
        )
    if framework == "vllm":
        return load, Batching(8192, chunked=True, late=3, reserves=False)
    if "gpt-oss" in str(point["model"]):
        return load, Batching(20000, late=3)
    budget = prompt + output + 200 if point["device"] == "NVIDIA_H200" else 16384.0
    held = prompt == output == 1024 and point["tp"] < 8
    return load, Batching(budget, late=3, wait_passes=20 if held else 0, wait_share=0.9)
