"""Many GPUs: how forecasts of collectives and steps held up, and what the worked examples come to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tilecast.base.statistics import error_percent
from tilecast.evaluate.goals import goals_of, verdict
from tilecast.evaluate.statistics import error_summary
from tilecast.present.page.results import Results
from tilecast.present.page.sections import figures
from tilecast.present.page.shown import Row, records, shown, span
from tilecast.tables.declared import multigpu as declared
from tilecast.tables.declared.half_precision import SERVING
from tilecast.tables.naming import significant
from tilecast.tables.schema import positive, prose, text

if TYPE_CHECKING:
    import pandas as pd

STUDY = "parallel/study/"
NEEDS = ("parallel/scoreboard.csv", "parallel/collectives_mape.csv", f"{STUDY}figures.csv")
SUITES = {
    "artifact": "(a) Steps on four GPUs, the artifact’s labels",
    "megatron": "(b) Megatron-LM 2021, Table 1",
    "recompute": "(b) Megatron-LM 2022, Table 5 (recomputation)",
    "published": "(e) Other published tables, all",
    "llm-foundry": "(e) llm-foundry: MPT 125M to 70B, FSDP on A100 and H100",
    "dgxc": "(e) DGX Cloud recipes: GPT-3, Llama 3.1, NeMo on H100 and GB200",
    "bloom": "(e) BLOOM’s logbook: 176 to 203 billion, 384 A100",
    "torchtitan": "(e) torchtitan: Llama 2 and 3, FSDP on A100",
    "fms-fsdp": "(e) fms-fsdp: Llama 34B and 70B, FSDP on A100",
    "megatron-bridge": "(e) Megatron Bridge: Qwen3-235B, experts on GB200 and GB300",
}
SYSTEMS = {
    "a100_sxm": "A100",
    "h100_sxm": "H100",
    "l40s": "L40S",
    "h200_sxm": "H200",
    "b200_sxm": "B200",
    "b300_sxm": "B300",
    "gb200": "GB200",
}
LEFT_OUT = {"leave-one-size-out": "size left out", "spec-only": "system left out"}
SERVING_POINTS = "modern/serving.csv"
QUANTITIES = {name: declared.SERVED.columns[name] for name in ("ttft_ms", "tpot_ms", "tokens_per_s", "memory_gb")}
QUANTITIES["step_ms"] = declared.SCALING.columns["step_ms"]
TOP = 10
Context = dict[str, Any]


def context(results: Results) -> Context:
    """The scoreboard, the worked examples with their costs, and what the searches found."""
    served = results.table(f"{STUDY}serving.csv", declared.SERVED)
    links = {"Scoreboard": "scoreboard", "Every step": "validation", "Collectives": "collectives_mape"}
    return {
        **_scores(results),
        "examples": _examples(results.table(f"{STUDY}figures.csv", declared.FIGURES)),
        "stages": _stages(results.table(f"{STUDY}parts.csv", declared.STEP_PARTS)),
        "costs": _costs(results.table(f"{STUDY}cost.csv", declared.COST)),
        "searches": _searches(results),
        "serving": shown(
            served,
            declared.SERVED,
            "layout sequences ttft_ms tpot_ms tokens_per_s memory_gb usd_per_million_tokens most",
        ),
        "served": next(iter(served["example"]), ""),
        "figures": figures.of_stage(results, "parallel_"),
        "links": results.links({words: f"parallel/{name}.csv" for words, name in links.items()}),
        "study_links": {name: results.links(f"{STUDY}{name}.csv") for name in ("figures", "cost", "serving")},
    }


def _scores(results: Results) -> Context:
    rows = _steps(results.table("parallel/scoreboard.csv", declared.SCOREBOARD))
    rows += _collectives(results.table("parallel/collectives_mape.csv", declared.COLLECTIVES_MAPE))
    rows += _points(results.table(SERVING_POINTS, SERVING))
    board = declared.SCOREBOARD.columns
    table = shown(
        rows,
        declared.SCOREBOARD,
        "suite mean_percent worst_percent cases goal authors_percent verdict",
        suite=replace(board["suite"], prose=True),
        **{
            name: replace(board[name], empty=words)
            for name, words in (
                ("mean_percent", "not produced"),
                ("worst_percent", "not produced"),
                ("cases", "–"),
            )
        },
        goal=text("x", title="Goal", empty="none set"),
        verdict=prose("x", title="Verdict"),
    )
    return {"scores": table} | {
        word: sum(row["verdict"].startswith(word) for row in rows) for word in ("met", "missed")
    }


def _score(what: str, figures: Row | None, goal: str, words: str, authors: float | None = None) -> Row:
    """A row of the scoreboard."""
    found = figures or dict.fromkeys(("n", "mape_percent", "worst_percent"))
    errors = {"mean_percent": found["mape_percent"], "worst_percent": found["worst_percent"], "cases": found["n"]}
    return errors | {"suite": what, "goal": goal, "authors_percent": authors, "verdict": words}


def _steps(suites: pd.DataFrame) -> list[Row]:
    rows = []
    for row in records(suites):
        goals = {word: row[f"bar_{word}_percent"] for word in ("mean", "worst")}
        goals = {word: goal for word, goal in goals.items() if goal is not None}
        found = {"n": row["cases"], "mape_percent": row["mean_percent"], "worst_percent": row["worst_percent"]}
        words = verdict([row[f"{word}_percent"] for word in goals], list(goals.values()))
        goal = " and ".join(f"{word} {goal:g} %" for word, goal in goals.items())
        rows.append(
            _score(SUITES.get(str(row["suite"]), str(row["suite"])), found, goal, words, row["authors_percent"])
        )
    return rows


def _collectives(errors: pd.DataFrame) -> list[Row]:
    """All-reduces of every system, with one size left out or the whole system."""
    found = {
        (row["basis"], row["sizes"], row["system"]): row for row in records(errors[errors["op"] == "all_reduce"])
    }
    measured = {system for basis, _, system in found if basis == "leave-one-size-out"}
    rows = []
    for goal in goals_of("collectives"):
        basis, sizes = goal.of.values()
        for name, words in SYSTEMS.items():
            row = found.get((basis, sizes, name))
            if row is None or (basis == "spec-only" and name in measured):
                continue
            what = f"(c) All-reduce, {'all sizes' if sizes == 'all' else sizes}, {words}, {LEFT_OUT[basis]}"
            met = verdict([row["mape_percent"]], [goal.percent])
            rows.append(_score(what, row, f"mean {goal.percent:g} %", met))
    return rows


def _points(points: pd.DataFrame) -> list[Row]:
    """Measured serving points of dense models, the GPU's generation left out; goals are of medians."""
    if points.empty:
        lacking = f"not produced in this run: needs results/{SERVING_POINTS}, which the study of modern GPUs makes"
        return [_score("(d) Serving points", None, "", lacking)]
    chosen = points[points["left_out"] & (points["kind"] == "dense")]
    rows = []
    for goal in goals_of("serving"):
        what = goal.of["what"]
        error = error_summary(error_percent(chosen[f"{what}_ms"], chosen[f"measured_{what}_ms"]))
        if error["n"]:
            median = error["median_percent"]
            words = f"{verdict([median], [goal.percent])}: median {median:.1f} %"
            name = f"(d) Serving points of modern GPUs, {goal.name}"
            rows.append(_score(name, error, f"median {goal.percent:g} %", words))
    return rows


def _examples(table: pd.DataFrame) -> Any:
    rows = []
    for row in records(table):
        quantity = QUANTITIES[row["figure"]]
        ends = [significant(end) for end in (row["low"], row["high"]) if end is not None]
        shown_value = f"{significant(row['value'])} {quantity.unit}".strip()
        rows.append(row | {"figure": quantity.title, "value": shown_value, "interval": " to ".join(ends)})
    return shown(rows, declared.FIGURES, "example layout figure value interval", interval=span("Interval"))


def _stages(parts: pd.DataFrame) -> Context:
    """Memory of every pipeline stage of the usual layout, and whether it fits."""
    mine = records(parts[parts["what"] == "stage_memory_gb"])
    room = next((row["value"] for row in mine if row["part"] == "one GPU"), None)
    rows = [row | {"room": room} for row in mine if row["part"] != "one GPU"]
    most = max((row["value"] for row in rows), default=None)
    for row in rows:
        row["fits"] = "fits" if room is not None and row["value"] <= room else "does not fit"
        row["fits"] += ", the fullest" if row["value"] == most else ""
    table = shown(
        rows,
        declared.STEP_PARTS,
        "part value room fits",
        part=text("x", title="Stage"),
        value=positive("x", title="Held", unit="GB"),
        room=positive("x", title="One GPU has", unit="GB"),
        fits=text("x", title="Fits"),
    )
    return {"table": table, "title": f"{mine[0]['example']}, {mine[0]['layout']}" if mine else ""}


def _costs(cost: pd.DataFrame) -> Any:
    names = ("hours", "on_demand_usd", "reserved_usd", "energy_kwh")
    rows = [
        row | {name: None if row[name] is None else significant(row[name]) for name in names}
        for row in records(cost)
    ]
    return shown(rows, declared.COST, "example what unit hours clusters on_demand_usd reserved_usd energy_kwh")


def _searches(results: Results) -> list[Context]:
    """For each example: the top ten with what the others do otherwise, why not other ranks, what cannot run."""
    search = results.table(f"{STUDY}search.csv", declared.SEARCH)
    stopped = results.table(f"{STUDY}infeasible.csv", declared.INFEASIBLE)
    found = []
    for example, part in search.groupby("example", sort=False):
        top = part[part["place"] <= TOP]
        optional = ("step_ms", "ttft_ms", "tpot_ms", "memory_gb", "usd_per_million_tokens")
        names = " ".join(name for name in optional if top[name].notna().any())
        reasons = stopped[stopped["example"] == example]
        found.append(
            {
                "slug": "serving" if "ttft_ms" in names else "training",
                "example": example,
                "feasible": int(part["feasible"].max()),
                "table": shown(top, declared.SEARCH, f"place layout {names} why"),
                "why_not": part.loc[part["place"].isna(), "why"].tolist(),
                "reasons": shown(reasons, declared.INFEASIBLE, "layouts such_as"),
                "stopped": int(reasons["layouts"].sum()),
            }
        )
    return found
