"""Forecasts of many GPUs held against what was measured: the artifact's four-GPU labels, tables of other authors.

One set of assumptions for all (`tilecast.multigpu.layout.Assumptions`), and no measured throughput is an input:
only models, layouts and systems are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.paths import PUBLISHED, SHARES
from tilecast.base.statistics import absolute_error_percent, error_percent
from tilecast.evaluate.goals import goals_of
from tilecast.evaluate.statistics import error_summary, inside
from tilecast.hardware.device import Device, devices
from tilecast.hardware.system import load_system
from tilecast.models.registry import ModelSpec, load_model, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.kernels import Kernels
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout
from tilecast.multigpu.shard import Shape
from tilecast.multigpu.shipped_shares import key, load, save
from tilecast.multigpu.step import PARTS, Planner, Step
from tilecast.predict.kernel import Predictor

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"megatron": "megatron_sc21_table1.csv", "recompute": "megatron_recompute_table5.csv"}
# The artifact's servers: four GPUs that NVLink joins.
SYSTEMS = {"NVIDIA_A100-SXM4-40GB": "a100_sxm_4", "NVIDIA_H100_80GB_HBM3": "h100_sxm_4"}
# Steps of frameworks other than Megatron-LM itself: their tables in one file, a source each.
PUBLISHED_TABLE = "training_tables.csv"
SOURCES = ("llm-foundry", "dgxc", "bloom", "torchtitan", "fms-fsdp", "megatron-bridge")
OPTIONS = ("dp4", "tp4", "pp4_1")
MEGATRON = ("dgx_a100", "NVIDIA_A100-SXM4-80GB", 2048, 51200)  # system, GPU, tokens, words
SUITES = ("artifact", *TABLES, "published", *SOURCES)  # `published` is all of the sources
COLUMNS = (
    "suite", "case", "system", "device", "gpus", "layout", "measured_ms", "forecast_ms", "low_ms", "high_ms",
    "error_percent", "authors_ms", "fits", *(f"{part}_ms" for part in PARTS),
)  # fmt: skip


Case = tuple[Mapping[Any, Any], Workload, Layout]  # what was measured, the work, the layout


def artifact_cases(labels: pd.DataFrame) -> list[Case]:
    """The artifact's distributed labels."""
    chosen = labels[labels["option"].isin(OPTIONS) & labels["device"].isin(SYSTEMS)]
    cases: list[Case] = []
    for row in chosen.sort_values(["device", "model", "batch_size", "option"]).to_dict("records"):
        batch, option = int(row["batch_size"]), row["option"]
        layout = {
            "dp4": Layout(dp=4, microbatch=max(1, batch // 4)),
            "tp4": Layout(tp=4, microbatch=batch),
            "pp4_1": Layout(pp=4, microbatch=batch, schedule="gpipe"),
        }[option]
        work = Workload(load_model(row["model"]), batch, int(row["sequence_length"]), row["mode"])
        cases.append((row, work, layout))
    return cases


def megatron_cases(table: pd.DataFrame) -> list[Case]:
    """Rows of a table of Megatron's steps with their work and layout, as the authors set them.

    Chains of elementwise kernels are fused by hand in Megatron. `torch` data parallelism overlaps gradients with
    the backward pass, `local` sends them after it. Where a table does not say so, all activations are recomputed.
    """
    cases: list[Case] = []
    for row in table.to_dict("records"):
        values = {
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": row["hidden"],
            "n_head": row["heads"], "n_layer": row["layers"], "n_positions": MEGATRON[2],
            "vocab_size": MEGATRON[3], "activation_function": "gelu_new",
        }  # fmt: skip
        spec = model_spec(values, row["model"], "megatron_sc21_table1.csv")
        work = Workload(spec, row["batch"], MEGATRON[2], "training", dtype="fp16", optimizer="adam", fused=True)
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
        cases.append((row, work, layout))
    return cases


def published_cases(table: pd.DataFrame) -> list[Case]:
    """Rows of the tables of other frameworks, with their work and layout as each states them."""
    cases: list[Case] = []
    for row in table.to_dict("records"):
        spec = _model(row)
        work = Workload(
            spec, row["batch"], row["sequence"], "training", dtype=row["dtype"], attention=row["attention"],
            optimizer="adam", fused=bool(row["fused"]),
        )  # fmt: skip
        chunks = row["interleave"]
        layout = Layout(
            dp=row["gpus"] // (row["tp"] * row["pp"] * row["cp"]),
            **{key: row[key] for key in ("tp", "pp", "cp", "ep", "microbatch", "recompute", "zero")},
            schedule="interleaved" if chunks > 1 else "1f1b",
            interleave=chunks,
            sequence_parallel=bool(row["sequence_parallel"]),
            overlap=bool(row["overlap"]),
        )
        cases.append((row, work, layout))
    return cases


def _model(row: Mapping[Any, Any]) -> ModelSpec:
    """The model of a row, by the dimensions it states; of experts, as shipped."""
    if row["model_type"] == "gpt2":
        values = {
            "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": row["hidden"],
            "n_head": row["heads"], "n_layer": row["layers"], "n_positions": row["sequence"],
            "vocab_size": row["vocab"], "activation_function": "gelu_new",
        }  # fmt: skip
    elif row["model_type"] == "llama":
        values = {
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
            "hidden_size": row["hidden"], "intermediate_size": row["ffn"], "num_hidden_layers": row["layers"],
            "num_attention_heads": row["heads"], "num_key_value_heads": int(row["kv_heads"]),
            "vocab_size": row["vocab"], "max_position_embeddings": row["sequence"], "tie_word_embeddings": False,
        }  # fmt: skip
    else:
        return load_model(row["model"])
    return model_spec(values, row["model"], "training_tables.csv")


def published_ms(row: Mapping[str, Any]) -> float:
    """A step's time, of the figure a table states."""
    tokens = row["batch"] * row["sequence"]
    share = {"s": 0, "tokens/s": 1, "tokens/s/GPU": row["gpus"]}[row["unit"]]
    return float(tokens / (row["measured"] * share) if share else row["measured"]) * 1e3


def megatron_ms(row: Mapping[str, Any]) -> float:
    """A step's time as stated, or from the achieved rate: equation (3) of arXiv 2104.04473 turned round."""
    if "seconds" in row:
        return float(row["seconds"]) * 1e3
    hidden, tokens, words = row["hidden"], MEGATRON[2], MEGATRON[3]
    work = 96 * row["batch"] * tokens * row["layers"] * hidden**2
    work *= 1 + tokens / (6 * hidden) + words / (16 * row["layers"] * hidden)
    return float(work / (row["gpus"] * row["tflops_per_gpu"] * 1e12) * 1e3)


def assumptions(row: Mapping[str, Any]) -> Assumptions:
    """Those of every forecast, and what the framework of a row is set to overlap.

    With `tp_overlap` a message of tensor ranks is cut in as many pieces as there are ranks, and all but one travel
    beside the product that makes or needs them; stages do not wait for what they send.
    """
    if not row.get("tp_overlap"):
        return STANDARD
    return replace(STANDARD, tp_overlap=1 - 1 / row["tp"], blocking_sends=False)


def validate(
    labels: pd.DataFrame,
    predictions: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    predictor: Predictor,
    traced: str | Path,
) -> pd.DataFrame:
    """Every case of every suite, forecast: COLUMNS. `predictions` holds the authors' own forecasts."""
    import pandas as pd

    keys = ["device", "model", "mode", "sequence_length", "batch_size", "option"]
    own = predictions[predictions["predictor"] == "neusight_published"].set_index(keys)["latency_ms"]
    rows, known = [], devices()
    forecast = Forecaster(predictor, traced)
    for row, work, layout in artifact_cases(labels):
        system, device = SYSTEMS[row["device"]], row["device"]
        step = forecast(work, layout, system, known[device])
        name = f"{row['model']} {row['sequence_length']} x {row['batch_size']} {row['option']}"
        authors = float(own.get(tuple(row[key] for key in keys), np.nan))
        rows.append(_row("artifact", name, system, device, step, float(row["latency_ms"]), authors))
    for suite, name in TABLES.items():
        for row, work, layout in megatron_cases(tables[name]):
            step = forecast(work, layout, MEGATRON[0], known[MEGATRON[1]])
            name = f"{row['model']} {layout.recompute}" if "recompute" in row else row["model"]
            rows.append(_row(suite, name, MEGATRON[0], MEGATRON[1], step, megatron_ms(row), float("nan")))
    for row, work, layout in published_cases(tables[PUBLISHED_TABLE]):
        step = forecast(work, layout, row["system"], known[row["device"]], assumptions(row))
        name = f"{row['model']} {row['sequence']} x {row['batch']}"
        rows.append(_row(row["source"], name, row["system"], row["device"], step, published_ms(row), float("nan")))
    return pd.DataFrame(rows, columns=list(COLUMNS))


class Forecaster:
    """Steps of many pieces of work; kernels that two of them share are forecast once."""

    def __init__(self, predictor: Predictor, traced: str | Path) -> None:
        self.predictor, self.traced = predictor, traced
        self._kernels: dict[tuple[str, str], Kernels] = {}

    def __call__(
        self, work: Workload, layout: Layout, system: str, device: Device, assume: Assumptions = STANDARD
    ) -> Step:
        """The step of a piece of work on a layout."""
        shares = load(self.traced, work)
        planner = Planner(work, load_system(system), device, self.predictor, assume, traced=shares)
        planner.kernels = self._kernels.setdefault((key(work), device.name), planner.kernels)
        return planner.step(layout)


def _row(
    suite: str, case: str, system: str, device: str, step: Step, measured_ms: float, authors_ms: float
) -> dict[str, Any]:
    return {
        "suite": suite,
        "case": case,
        "system": system,
        "device": device,
        "gpus": step.layout.gpus,
        "layout": step.layout.label,
        "measured_ms": measured_ms,
        "forecast_ms": step.latency_ms,
        "low_ms": step.low_ms,
        "high_ms": step.high_ms,
        "error_percent": error_percent(step.latency_ms, measured_ms),
        "authors_ms": authors_ms,
        "fits": step.memory.fits,
        **{f"{part}_ms": value for part, value in step.parts.items()},
    }


def scoreboard(cases: pd.DataFrame) -> pd.DataFrame:
    """Errors of every suite with its goals: mean, median, worst, signed; how many intervals hold."""
    import pandas as pd

    rows = []
    for suite in SUITES:
        part = cases[cases["suite"].isin(SOURCES if suite == "published" else (suite,))]
        error = error_summary(part["error_percent"])
        authors = error_summary(absolute_error_percent(part["authors_ms"], part["measured_ms"]))
        goals = {goal.statistic: goal.percent for goal in goals_of("steps", suite=suite)}
        rows.append(
            {
                "suite": suite,
                "cases": len(part),
                "mean_percent": error["mape_percent"],
                "median_percent": error["median_percent"],
                "worst_percent": error["worst_percent"],
                "signed_percent": error["bias_percent"],
                "covered": int(inside(part["measured_ms"], part["low_ms"], part["high_ms"]).sum()),
                "fitting": int(part["fits"].sum()),
                "authors_percent": authors["mape_percent"],
                "bar_mean_percent": goals.get("mean", np.nan),
                "bar_worst_percent": goals.get("worst", np.nan),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Trace the kernels of every case anew and ship them."""
    import pandas as pd

    labels = pd.read_csv(PUBLISHED / "end_to_end.csv")
    cases = artifact_cases(labels[labels["predictor"] == "measured"])
    for name in TABLES.values():
        cases += megatron_cases(pd.read_csv(PUBLISHED / name))
    cases += published_cases(pd.read_csv(PUBLISHED / PUBLISHED_TABLE))
    wanted: dict[str, tuple[Workload, list[Shape]]] = {}
    for _, work, layout in cases:
        wanted.setdefault(key(work), (work, []))[1].append(Shape.of(layout))
    save(SHARES, wanted.values())


if __name__ == "__main__":
    main()
