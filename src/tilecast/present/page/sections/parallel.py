"""Many GPUs: how forecasts of collectives and steps held up, and what the worked examples come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilecast.base.statistics import error_percent
from tilecast.evaluate.goals import goals_of, verdict
from tilecast.evaluate.statistics import error_summary
from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.present.page.sections import figures
from tilecast.tables.declared.multigpu import COLLECTIVES_MAPE
from tilecast.tables.naming import significant

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
SYSTEMS = {"a100_sxm": "A100", "h100_sxm": "H100", "l40s": "L40S", "h200_sxm": "H200", "b200_sxm": "B200",
           "b300_sxm": "B300", "gb200": "GB200"}  # fmt: skip
LEFT_OUT = {"leave-one-size-out": "size left out", "spec-only": "system left out"}
SERVING_POINTS = "modern/serving.csv"
UNITS = {
    "step_ms": ("Step", "ms"),
    "ttft_ms": ("Time to first token", "ms"),
    "tpot_ms": ("Time per output token", "ms"),
    "tokens_per_s": ("Tokens per second", ""),
    "memory_gb": ("Memory of the fullest GPU", "GB"),
}
REASONS = (
    Column("layouts", "Layouts", digits=0),
    Column("such_as", "Stopped, for example, because", prose=True),
)
Context = dict[str, Any]


def context(results: Results) -> Context:
    """The scoreboard, the worked examples with their costs, and what the searches found."""
    return {
        "scores": _scores(results),
        "examples": _examples(results),
        "stages": _stages(results),
        "costs": _costs(results),
        "searches": _searches(results),
        "serving": _serving(results),
        "figures": figures.of_stage(results, "parallel_"),
        "links": results.links("parallel", "scoreboard", (".csv",), "Scoreboard")
        + results.links("parallel", "validation", (".csv",), "Every step")
        + results.links("parallel", "collectives_mape", (".csv",), "Collectives"),
    }


def _scores(results: Results) -> Context:
    rows = []
    steps = results.free("parallel/scoreboard.csv", ("suite", "cases", "mean_percent", "worst_percent"))
    assert steps is not None
    for row in _records(steps):
        bars = {"mean": row.get("bar_mean_percent"), "worst": row.get("bar_worst_percent")}
        bars = {word: bar for word, bar in bars.items() if bar is not None}
        found = {word: row[f"{word}_percent"] for word in ("mean", "worst")}
        rows.append(
            {
                "what": SUITES.get(row["suite"], row["suite"]),
                "n": row["cases"],
                **found,
                "bar": " and ".join(f"{word} {bar:g} %" for word, bar in bars.items()),
                "authors": row.get("authors_percent"),
                "verdict": verdict([found[word] for word in bars], list(bars.values())),
            }
        )
    collectives = results.table("parallel/collectives_mape.csv", COLLECTIVES_MAPE)
    assert collectives is not None
    chosen = collectives[collectives["op"] == "all_reduce"]
    seen = set(chosen.loc[chosen["basis"] == "leave-one-size-out", "system"])
    for goal in goals_of("collectives"):
        (basis, sizes), bar = goal.of.values(), goal.percent
        part = chosen[(chosen["basis"] == basis) & (chosen["sizes"] == sizes)]
        for name, words in SYSTEMS.items():
            of = part[part["system"] == name]
            if of.empty or (basis == "spec-only" and name in seen):
                continue
            row, which = _records(of)[0], "all sizes" if sizes == "all" else sizes
            rows.append(
                {
                    "what": f"(c) All-reduce, {which}, {words}, {LEFT_OUT[basis]}",
                    "n": row["n"],
                    "mean": row["mape_percent"],
                    "worst": row["worst_percent"],
                    "bar": f"mean {bar:g} %",
                    "authors": None,
                    "verdict": verdict([row["mape_percent"]], [bar]),
                }
            )
    rows += _points(results.free(SERVING_POINTS, ("left_out", "kind", "tpot_ms", "ttft_ms")))
    columns = (
        Column("what", "What was forecast", prose=True),
        Column("mean", "Mean error", "%", 1, "not produced"),
        Column("worst", "Worst", "%", 1, "not produced"),
        Column("n", "n", digits=0, absent="–"),
        Column("bar", "Goal", absent="none set"),
        Column("authors", "Authors’ own", "%", 1, "–"),
        Column("verdict", "Verdict", prose=True),
    )
    counts = {word: sum(row["verdict"].startswith(word) for row in rows) for word in ("met", "open")}
    return {"columns": columns, "rows": rows, **counts}


def _points(points: pd.DataFrame | None) -> list[Context]:
    """Measured serving points of dense models, the GPU's generation left out; goals are of medians."""
    if points is None or points.empty:
        lacking = f"not produced in this run: needs results/{SERVING_POINTS}, which the study of modern GPUs makes"
        nothing = dict.fromkeys(("n", "mean", "worst", "bar", "authors"))
        return [{"what": "(d) Serving points", **nothing, "verdict": lacking}]
    chosen = points[points["left_out"].astype(bool) & (points["kind"] == "dense")]
    rows = []
    for goal in goals_of("serving"):
        what, bar = goal.of["what"], goal.percent
        error = error_summary(error_percent(chosen[f"{what}_ms"], chosen[f"measured_{what}_ms"]))
        if not error["n"]:
            continue
        median = error["median_percent"]
        rows.append(
            {
                "what": f"(d) Serving points of modern GPUs, {goal.name}",
                "n": error["n"],
                "mean": error["mape_percent"],
                "worst": error["worst_percent"],
                "bar": f"median {bar:g} %",
                "authors": None,
                "verdict": f"{verdict([median], [bar])}: median {median:.1f} %",
            }
        )
    return rows


def _examples(results: Results) -> Context:
    frame = results.free(f"{STUDY}figures.csv", ("example", "layout", "figure", "value", "low", "high"))
    assert frame is not None
    rows = []
    for row in _records(frame):
        words, unit = UNITS.get(row["figure"], (row["figure"], ""))
        ends = [row["low"], row["high"]]
        rows.append(
            {
                "example": row["example"],
                "layout": row["layout"],
                "figure": words,
                "value": f"{significant(row['value'])} {unit}".strip(),
                "interval": None if None in ends else f"{significant(ends[0])} to {significant(ends[1])}",
            }
        )
    columns = (
        Column("example", "Example"),
        Column("layout", "Layout"),
        Column("figure", "Figure"),
        Column("value", "Forecast", right=True),
        Column("interval", "Interval", right=True, absent="none claimed"),
    )
    return {"columns": columns, "rows": rows, "links": results.links("parallel/study", "figures", (".csv",))}


def _stages(results: Results) -> Context:
    """Memory of every pipeline stage of the usual layout, and whether it fits."""
    frame = results.free(f"{STUDY}parts.csv", ("example", "layout", "what", "part", "value"))
    mine = [] if frame is None else _records(frame[frame["what"] == "stage_memory_gb"])
    room = next((row["value"] for row in mine if row["part"] == "one GPU"), None)
    rows = [
        {
            "stage": row["part"],
            "held": row["value"],
            "room": room,
            "fits": "fits" if row["value"] <= room else "does not fit",
        }
        for row in mine
        if row["part"] != "one GPU" and room is not None
    ]
    for row in rows:
        row["fits"] += ", the fullest" if row["held"] == max(other["held"] for other in rows) else ""
    columns = (
        Column("stage", "Stage"),
        Column("held", "Held", "GB", 1),
        Column("room", "One GPU has", "GB", 1),
        Column("fits", "Fits"),
    )
    title = f"{mine[0]['example']}, {mine[0]['layout']}" if mine else ""
    return {"columns": columns, "rows": rows, "title": title}


def _costs(results: Results) -> Context:
    frame = results.free(f"{STUDY}cost.csv", ("example", "what", "unit", "hours", "on_demand_usd", "energy_kwh"))
    rows = [] if frame is None else _records(frame)
    rows = [
        row
        | {
            name: None if row.get(name) is None else significant(row[name])
            for name in ("hours", "on_demand_usd", "reserved_usd", "energy_kwh")
        }
        for row in rows
    ]
    columns = (
        Column("example", "Example"),
        Column("what", "Layout", prose=True),
        Column("unit", "Per"),
        Column("hours", "Hours", right=True),
        Column("clusters", "Clusters", digits=0, absent="no price"),
        Column("on_demand_usd", "On demand", "$", right=True, absent="no price"),
        Column("reserved_usd", "Reserved", "$", right=True, absent="no price"),
        Column("energy_kwh", "Energy", "kWh", right=True, absent="not known"),
    )
    return {"columns": columns, "rows": rows, "links": results.links("parallel/study", "cost", (".csv",))}


def _searches(results: Results) -> list[Context]:
    """For each example: the top ten with what the others do otherwise, why not other ranks, what cannot run."""
    search = results.free(f"{STUDY}search.csv", ("example", "place", "feasible", "layout", "front", "why"))
    stopped = results.free(f"{STUDY}infeasible.csv", ("example", "layouts", "such_as"))
    if search is None or stopped is None:
        return []
    found = []
    for example, part in search.groupby("example", sort=False):
        top = part[part["place"] <= 10].dropna(axis=1, how="all")
        known = "usd_per_million_tokens" in top
        times = [
            Column(name, UNITS[name][0], UNITS[name][1], digits)
            for name, digits in (("step_ms", 0), ("ttft_ms", 0), ("tpot_ms", 1))
            if name in top
        ]
        columns = (
            Column("place", "", digits=0),
            Column("layout", "Layout"),
            *times,
            Column("memory_gb", "Memory", "GB", 1),
            *([Column("usd_per_million_tokens", "$/1M tokens", "", 2)] if known else []),
            Column("why", "Against the best", prose=True, absent="the best"),
        )
        reasons = _records(stopped[stopped["example"] == example])
        found.append(
            {
                "slug": "serving" if "ttft_ms" in top else "training",
                "example": example,
                "feasible": int(part["feasible"].max()),
                "columns": columns,
                "rows": [row | {name: row.get(name) for name in ("why", "layout")} for row in _records(top)],
                "why_not": part.loc[part["place"].isna(), "why"].tolist(),
                "reason_columns": REASONS,
                "reasons": reasons,
                "stopped": int(sum(row["layouts"] for row in reasons)),
            }
        )  # fmt: skip
    return found


def _serving(results: Results) -> Context:
    frame = results.free(f"{STUDY}serving.csv", ("example", "layout", "sequences", "ttft_ms", "tpot_ms"))
    rows = [] if frame is None else _records(frame)
    columns = (
        Column("layout", "Layout"),
        Column("sequences", "Requests at once", digits=0),
        Column("ttft_ms", "Time to first token", "ms", 0),
        Column("tpot_ms", "Time per output token", "ms", 1),
        Column("tokens_per_s", "Tokens per second", digits=0),
        Column("memory_gb", "Memory", "GB", 1),
        Column("usd_per_million_tokens", "$/1M tokens", "", 2, "no price"),
        Column("most", "Most that fit", digits=0),
    )
    example = str(rows[0]["example"]) if rows else ""
    return {
        "columns": columns,
        "rows": rows,
        "example": example,
        "links": results.links("parallel/study", "serving", (".csv",)),
    }


def _records(frame: pd.DataFrame) -> list[Context]:
    """Rows as dictionaries, what is missing as None."""
    return [
        {str(name): value for name, value in row.items()}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
