"""Measured steps on many GPUs: the artifact's four-GPU labels, and tables that other authors published.

Only models, layouts and systems of a table are used for a forecast; the measured time is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from tilecast.models.registry import ModelSpec, load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout

TABLES = {"megatron": "megatron_sc21_table1.csv", "recompute": "megatron_recompute_table5.csv"}
# The artifact's servers: four GPUs that NVLink joins.
SYSTEMS = {"NVIDIA_A100-SXM4-40GB": "a100_sxm_4", "NVIDIA_H100_80GB_HBM3": "h100_sxm_4"}
# Steps of frameworks other than Megatron-LM itself: their tables in one file, a source each.
PUBLISHED_TABLE = "training_tables.csv"
SOURCES = ("llm-foundry", "dgxc", "bloom", "torchtitan", "fms-fsdp", "megatron-bridge")
OPTIONS = ("dp4", "tp4", "pp4_1")
MEGATRON_SYSTEM, MEGATRON_DEVICE = "dgx_a100", "NVIDIA_A100-SXM4-80GB"
MEGATRON_TOKENS, MEGATRON_WORDS = 2048, 51200  # tokens a sequence, words of the vocabulary


class Case(NamedTuple):
    """One measured step: where it was measured, and the work, layout and assumptions to forecast it with."""

    suite: str
    name: str
    system: str
    device: str
    work: Workload
    layout: Layout
    measured_ms: float
    row: Mapping[Any, Any]  # of its table
    assume: Assumptions = STANDARD


def artifact_cases(labels: pd.DataFrame) -> list[Case]:
    """The artifact's distributed labels."""
    chosen = labels[labels["option"].isin(OPTIONS) & labels["device"].isin(SYSTEMS)]
    cases = []
    for row in chosen.sort_values(["device", "model", "batch_size", "option"]).to_dict("records"):
        batch, tokens, option = int(row["batch_size"]), int(row["sequence_length"]), row["option"]
        layout = {
            "dp4": Layout(dp=4, microbatch=max(1, batch // 4)),
            "tp4": Layout(tp=4, microbatch=batch),
            "pp4_1": Layout(pp=4, microbatch=batch, schedule="gpipe"),
        }[option]
        work = Workload(load_model(row["model"]), batch, tokens, row["mode"])
        name = f"{row['model']} {tokens} x {batch} {option}"
        where = SYSTEMS[row["device"]], row["device"]
        cases.append(Case("artifact", name, *where, work, layout, float(row["latency_ms"]), row))
    return cases


def megatron_cases(suite: str, table: pd.DataFrame) -> list[Case]:
    """Rows of a table of Megatron's steps with their work and layout, as the authors set them.

    Chains of elementwise kernels are fused by hand in Megatron. `torch` data parallelism overlaps gradients with
    the backward pass, `local` sends them after it. Where a table does not say so, all activations are recomputed.
    """
    cases = []
    for row in table.to_dict("records"):
        spec = _gpt2(row, MEGATRON_TOKENS, MEGATRON_WORDS, TABLES["megatron"])
        work = Workload(
            spec, row["batch"], MEGATRON_TOKENS, "training", dtype="fp16", optimizer="adam", fused=True
        )
        chunks = row["layers"] // row["pp"] // row["layers_per_chunk"]
        layout = Layout(
            dp=row["gpus"] // (row["tp"] * row["pp"]),
            tp=row["tp"],
            pp=row["pp"],
            microbatch=row["microbatch"],
            schedule="interleaved" if chunks > 1 else "1f1b",
            interleave=chunks,
            recompute=row.get("recompute", "full"),
            sequence_parallel=bool(row.get("sequence_parallel", False)),
            overlap=row["ddp"] == "torch",
        )
        name = f"{row['model']} {layout.recompute}" if "recompute" in row else row["model"]
        cases.append(Case(suite, name, MEGATRON_SYSTEM, MEGATRON_DEVICE, work, layout, megatron_ms(row), row))
    return cases


def published_cases(table: pd.DataFrame) -> list[Case]:
    """Rows of the tables of other frameworks, with their work and layout as each states them."""
    cases = []
    for row in table.to_dict("records"):
        how = {"dtype": row["dtype"], "attention": row["attention"], "fused": bool(row["fused"])}
        work = Workload(_model(row), row["batch"], row["sequence"], "training", optimizer="adam", **how)
        layout = Layout(
            dp=row["gpus"] // (row["tp"] * row["pp"] * row["cp"]),
            **{key: row[key] for key in ("tp", "pp", "cp", "ep", "microbatch", "recompute", "zero", "interleave")},
            schedule="interleaved" if row["interleave"] > 1 else "1f1b",
            sequence_parallel=bool(row["sequence_parallel"]),
            overlap=bool(row["overlap"]),
        )
        name, where = f"{row['model']} {row['sequence']} x {row['batch']}", (row["system"], row["device"])
        cases.append(Case(row["source"], name, *where, work, layout, published_ms(row), row, assumptions(row)))
    return cases


def _model(row: Mapping[Any, Any]) -> ModelSpec:
    """The model of a row, by the dimensions it states; a mixture of experts as shipped."""
    if row["model_type"] == "gpt2":
        return _gpt2(row, row["sequence"], row["vocab"], PUBLISHED_TABLE)
    if row["model_type"] != "llama":
        return load_model(row["model"])
    values = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": row["hidden"],
        "intermediate_size": row["ffn"],
        "num_hidden_layers": row["layers"],
        "num_attention_heads": row["heads"],
        "num_key_value_heads": int(row["kv_heads"]),
        "vocab_size": row["vocab"],
        "max_position_embeddings": row["sequence"],
        "tie_word_embeddings": False,
    }
    return model_spec(values, row["model"], PUBLISHED_TABLE)


def _gpt2(row: Mapping[Any, Any], tokens: int, words: int, where: str) -> ModelSpec:
    """A model of GPT-2's kind, by the dimensions of a row."""
    values = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": row["hidden"],
        "n_head": row["heads"],
        "n_layer": row["layers"],
        "n_positions": tokens,
        "vocab_size": words,
        "activation_function": "gelu_new",
    }
    return model_spec(values, row["model"], where)


def published_ms(row: Mapping[Any, Any]) -> float:
    """Milliseconds of a step, from the time or the tokens a second that a table states."""
    tokens = row["batch"] * row["sequence"]
    share = {"s": 0, "tokens/s": 1, "tokens/s/GPU": row["gpus"]}[row["unit"]]
    return float(tokens / (row["measured"] * share) if share else row["measured"]) * 1e3


def megatron_ms(row: Mapping[Any, Any]) -> float:
    """Milliseconds of a step as stated, or from the rate that a GPU achieved.

    The operations of a step: 96 B s l h^2 (1 + s / (6 h) + V / (16 l h)), equation (3) of arXiv 2104.04473.
    """
    if "seconds" in row:
        return float(row["seconds"]) * 1e3
    hidden, tokens, words = row["hidden"], MEGATRON_TOKENS, MEGATRON_WORDS
    work = 96 * row["batch"] * tokens * row["layers"] * hidden**2
    work *= 1 + tokens / (6 * hidden) + words / (16 * row["layers"] * hidden)
    return float(work / (row["gpus"] * row["tflops_per_gpu"] * 1e12) * 1e3)


def assumptions(row: Mapping[Any, Any]) -> Assumptions:
    """The standard assumptions, and what the framework of a row is set to overlap.

    With `tp_overlap` a message of tensor ranks is cut in as many pieces as there are ranks, and all but one travel
    beside the product that makes or needs them; stages do not wait for what they send.
    """
    if not row.get("tp_overlap"):
        return STANDARD
    return replace(STANDARD, tp_overlap=1 - 1 / row["tp"], blocking_sends=False)


def every_case(labels: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> list[Case]:
    """The cases of all suites; `tables` are the published ones by file name."""
    megatron = [case for suite, name in TABLES.items() for case in megatron_cases(suite, tables[name])]
    return [*artifact_cases(labels), *megatron, *published_cases(tables[PUBLISHED_TABLE])]
