"""Half precision on today's GPUs: generations left out, forward in time, serving, noise, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilecast.evaluate.generations import by_generation
from tilecast.evaluate.goals import goals_of
from tilecast.evaluate.statistics import error_summary
from tilecast.hardware.device_file import devices
from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.present.page.sections import figures
from tilecast.tables.naming import PREDICTORS, display, ordered

if TYPE_CHECKING:
    import pandas as pd

NEEDS = ("modern/source.json",)
FAMILIES = {
    "gemm": "Products",
    "prefill": "Prefill attention",
    "decode": "Decode attention",
    "moe": "Experts, vLLM's choice of kernel",
    "moe_triton": "Experts, Triton's kernel",
}
PROTOCOL = (
    "kind",
    "generation",
    "device",
    "family",
    "dtype",
    "predictor",
    "n",
    "mape_long_percent",
    "mape_percent",
)
COLUMNS = (
    Column("generation", "Forecast"),
    Column("predictor", "Predictor"),
    Column("mape_long_percent", "Calls ≥ 0.05 ms", "%", 1, "none so long"),
    Column("mape_percent", "All calls", "%", 1),
    Column("goal", "Goal, long / all", "%", absent="none set", right=True),
    Column("n", "n", digits=0),
    Column("gpus", "GPUs", digits=0),
    Column("ratio_median", "Forecast ÷ measured", "median", 2),
    Column("inside_percent", "In 80 % interval", "%", 0, "none claimed"),
    Column("mape_with_flagged_percent", "With flagged rows", "%", 1),
)
GROUP = (Column("family", "Kernels"), Column("dtype", "Format"))
SERVED = (
    Column("n", "n", digits=0),
    Column("tpot_median_percent", "TPOT, median error", "%", 1),
    Column("ttft_median_percent", "TTFT, median error", "%", 1),
    Column("tpot_ratio", "TPOT, forecast ÷ measured", "median", 2),
    Column("ttft_ratio", "TTFT, forecast ÷ measured", "median", 2),
)
SERVING = (Column("kind", "Models"), Column("left_out", "Generation"), *SERVED)
SERVING_PARTS = (*SERVING[:2], Column("device", "GPU"), Column("framework", "Framework"), *SERVED)
ANCHOR = (Column("forecaster", "Forecaster"), *SERVED)
REPEATED = (
    Column("device", "GPU"),
    Column("n", "n here", digits=0),
    Column("recorded", "Recorded", "%", 1),
    Column("mape_percent", "Here", "%", 1),
)
NOISE = (
    Column("device", "GPU"),
    Column("family", "Kernels"),
    Column("rows", "Rows", digits=0),
    Column("duplicates_and_slow_paths", "Flagged", digits=0),
    Column("n", "Also by others", digits=0),
    Column("mean_percent", "Mean spread", "%", 1, "one framework"),
    Column("p90_percent", "90th percentile", "%", 1, "one framework"),
)


def context(results: Results) -> dict[str, Any]:
    """The stage's tables; without the wheel only the reason why there are none."""
    source = results.json("modern/source.json") or {}
    if not source.get("available"):
        return {"source": source}
    protocol = results.free("modern/protocol.csv", PROTOCOL)
    serving = results.free("modern/serving_errors.csv", ("left_out", "kind", "n"))
    sample = results.free("modern/sample.csv", ("device", "n", "mape_percent"))
    noise = results.free("modern/noise.csv", ("device", "family", "n"))
    anchor = results.free("modern/anchor.csv", ("forecaster", "n"))
    assert protocol is not None and serving is not None and sample is not None and noise is not None
    names = {name: device.short for name, device in devices().items()}
    products = (protocol["family"] == "gemm") & (protocol["dtype"] == "bf16")
    ours = protocol[products & (protocol["predictor"] == "tilecast") & (protocol["kind"] == "left out")]
    whole = serving[(serving["device"] == "all") & (serving["framework"] == "all")]
    return {
        "source": source,
        "error": error_summary(by_generation(ours)["mape_percent"])["mape_percent"],
        "n": int(protocol[(protocol["predictor"] == "tilecast") & (protocol["kind"] == "left out")]["n"].sum()),
        "left_out": _folds(protocol[products & (protocol["kind"] == "left out")], goals=True),
        "forward": _folds(protocol[products & (protocol["kind"] == "forward")]),
        "others": _groups(protocol[~products]),
        "columns": COLUMNS,
        "group_columns": (*GROUP, *(column for column in COLUMNS if column.key != "goal")),
        "serving": _serving(whole, names),
        "serving_parts": _serving(serving[~serving.index.isin(whole.index)], names),
        "serving_columns": SERVING,
        "serving_part_columns": SERVING_PARTS,
        "anchor": [] if anchor is None else _records(anchor),
        "anchor_columns": ANCHOR,
        "noise": _noise(noise, names),
        "noise_columns": NOISE,
        "repeated": _repeated(sample, ours, names),
        "repeated_columns": REPEATED,
        "figures": figures.of_stage(results, "modern_"),
        "links": results.links("modern", "protocol", (".csv",)),
        "serving_links": results.links("modern", "serving_errors", (".csv",)),
    }


def _folds(table: pd.DataFrame, goals: bool = False) -> list[dict[str, Any]]:
    """One row a generation and predictor: its GPUs alike."""
    rows, means = [], by_generation(table)
    for generation in dict.fromkeys(means["generation"]):
        part = means[means["generation"] == generation].set_index("predictor")
        for predictor in ordered(PREDICTORS, part.index):
            of = goals_of("generations", generation=generation) if goals and predictor == "tilecast" else []
            about = {
                "generation": generation,
                "predictor": display(PREDICTORS, predictor),
                "goal": " / ".join(f"{goal.percent:g}" for goal in of) or None,
            }
            rows.append(part.loc[predictor].to_dict() | about)
    return rows


def _groups(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for (family, dtype, kind), part in table.groupby(["family", "dtype", "kind"], sort=False):
        label = {"family": FAMILIES[str(family)], "dtype": dtype}
        for row in _folds(part):
            when = row["generation"] if kind == "left out" else f"{row['generation']}, from older ones"
            rows.append(row | label | {"generation": when})
    return rows


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _serving(table: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for row in _records(table):
        left_out = str(row["left_out"]).lower() == "true"
        row["left_out"] = "left out" if left_out else "kept in"
        rows.append(row | {"device": names.get(row["device"], row["device"])})
    return rows


def _noise(table: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for row in _records(table[table["dtype"] == "bf16"]):
        rows.append(row | {"device": names.get(row["device"], row["device"]), "family": FAMILIES[row["family"]]})
    return rows


def _repeated(sample: pd.DataFrame, recorded: pd.DataFrame, names: dict[str, str]) -> list[dict[str, Any]]:
    known = recorded.set_index("device")["mape_percent"]
    return [
        row | {"recorded": known.get(row["device"]), "device": names.get(row["device"], row["device"])}
        for row in _records(sample)
    ]
