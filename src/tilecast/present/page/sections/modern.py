"""Half precision on today's GPUs: generations left out, forward in time, serving, noise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tilecast.evaluate.generations import by_generation
from tilecast.evaluate.goals import goals_of
from tilecast.evaluate.statistics import error_summary
from tilecast.hardware.device_file import devices
from tilecast.present.page.results import Results
from tilecast.present.page.sections import figures, rivals
from tilecast.present.page.shown import Row, Shown, records, shown
from tilecast.tables.declared.half_precision import (
    ANCHOR,
    GENERATION_BASELINES,
    HALF_ABLATION,
    NOISE,
    PROTOCOL,
    SERVING_ABLATION,
    SERVING_ERRORS,
    SHAPE_BASELINES,
)
from tilecast.tables.naming import PREDICTORS, ordered
from tilecast.tables.schema import amount, size, text

if TYPE_CHECKING:
    import pandas as pd

NEEDS = ("modern/source.json",)
GPUS = size("GPUs of the generation", title="GPUs")
GOAL = text("goals", title="Goal, long / all", unit="%", digits=0, empty="none set")
ERRORS = "generation predictor mape_long_percent mape_percent"
DETAILS = "n gpus ratio_median inside_percent mape_with_flagged_percent"
SERVED = " n tpot_median_percent ttft_median_percent tpot_ratio ttft_ratio"


def context(results: Results) -> dict[str, Any]:
    """The stage's tables; without the wheel only the reason why there are none."""
    source = results.json("modern/source.json") or {}
    if not source.get("available"):
        return {"source": source}
    protocol = results.table("modern/protocol.csv", PROTOCOL)
    serving = _named(results.table("modern/serving_errors.csv", SERVING_ERRORS))
    noise = _named(results.table("modern/noise.csv", NOISE))
    products = (protocol["family"] == "gemm") & (protocol["dtype"] == "bf16")
    left_out, ours = protocol["kind"] == "left out", protocol["predictor"] == "tilecast"
    recorded = protocol[products & ours & left_out]
    whole = (serving["device"] == "all") & (serving["framework"] == "all")
    return {
        "source": source,
        "error": error_summary(by_generation(recorded)["mape_percent"])["mape_percent"],
        "n": int(protocol[ours & left_out]["n"].sum()),
        "left_out": _folds(protocol[products & left_out], f"{ERRORS} goal {DETAILS}"),
        "rivals": rivals.context(
            results.table("modern/baselines.csv", GENERATION_BASELINES),
            GENERATION_BASELINES,
            ("generation", "calls"),
        ),
        "rivals_links": results.links("modern/baselines.csv"),
        "shapes": rivals.context(
            results.table("modern/shapes.csv", SHAPE_BASELINES), SHAPE_BASELINES, ("family", "generation", "calls")
        ),
        "shapes_links": results.links("modern/shapes.csv"),
        "ablation": shown(
            results.table("modern/ablation.csv", HALF_ABLATION), HALF_ABLATION, " ".join(HALF_ABLATION.columns)
        ),
        "forward": _folds(protocol[products & ~left_out], f"{ERRORS} {DETAILS}"),
        "others": _folds(protocol[~products], f"family dtype {ERRORS} {DETAILS}"),
        "serving": shown(serving[whole], SERVING_ERRORS, "kind left_out" + SERVED),
        "serving_ablation": shown(
            results.table("modern/serving_ablation.csv", SERVING_ABLATION),
            SERVING_ABLATION,
            " ".join(SERVING_ABLATION.columns),
        ),
        "serving_parts": shown(serving[~whole], SERVING_ERRORS, "kind left_out device framework" + SERVED),
        "anchor": shown(results.table("modern/anchor.csv", ANCHOR), ANCHOR, "forecaster" + SERVED),
        "noise": shown(
            noise[noise["dtype"] == "bf16"],
            NOISE,
            "device family rows duplicates_and_slow_paths n mean_percent p90_percent",
        ),
        "repeated": _repeated(results.table("modern/sample.csv", PROTOCOL), recorded),
        "figures": figures.of_stage(results, "modern_"),
        "links": results.links("modern/protocol.csv"),
        "serving_links": results.links("modern/serving_errors.csv"),
    }


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with GPUs by their short names."""
    return table.assign(device=table["device"].replace({name: device.short for name, device in devices().items()}))


def _folds(protocol: pd.DataFrame, names: str) -> Shown:
    """A row for each group of kernels, generation and predictor: its GPUs alike."""
    means, rows = by_generation(protocol), []
    for key, part in means.groupby(["family", "dtype", "kind", "generation"], sort=False):
        by_predictor = {row["predictor"]: row for row in records(part)}
        rows += [_fold(by_predictor[predictor], str(key[-1])) for predictor in ordered(PREDICTORS, by_predictor)]
    return shown(rows, PROTOCOL, names, gpus=GPUS, goal=GOAL)


def _fold(row: Row, generation: str) -> Row:
    goals = goals_of("generations", generation=generation) if row["predictor"] == "tilecast" else []
    when = generation if row["kind"] == "left out" else f"{generation}, from older ones"
    return row | {"generation": when, "goal": " / ".join(f"{goal.percent:g}" for goal in goals)}


def _repeated(sample: pd.DataFrame, recorded: pd.DataFrame) -> Shown:
    """The sample's errors beside the record's."""
    both = _named(sample.assign(recorded=sample["device"].map(recorded.set_index("device")["mape_percent"])))
    mape = PROTOCOL.columns["mape_percent"]
    return shown(
        both,
        PROTOCOL,
        "device n recorded mape_percent",
        recorded=amount("x", title="MAPE, recorded", unit="%", empty="not recorded"),
        mape_percent=replace(mape, title="MAPE, here"),
        device=text("x", title="GPU"),
    )
