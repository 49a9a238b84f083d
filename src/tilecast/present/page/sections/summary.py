"""The first screen: does the artifact hold, and why; then how accurate its forecasts are."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.sections import claims
from tilecast.present.page.sections.figures import MAIN, figure
from tilecast.present.page.sections.provenance import SERVED
from tilecast.present.page.shown import records
from tilecast.present.paper.model import NEEDS_ARTIFACT
from tilecast.tables.declared.artifact import DEFECTS, LABELS
from tilecast.tables.declared.claims import BADGES
from tilecast.tables.declared.evaluation import ABLATION, MAPE, SUMMARY_COMPARISON
from tilecast.tables.naming import MODES, PREDICTORS, TWINS, display, distinct, method

# The answer in a line, by the verdict on the badge `reproduced`.
ANSWERS = {
    "yes": "Yes: the figures the authors state come out of their artifact again",
    "in part": "In part: some figures the authors state come out of their artifact again, some do not",
    "no": "No: the figures the authors state do not come out of their artifact",
    "not judged": "Not judged: this run holds too little of the artifact",
}
SHAPES = {"yes": "reproduced", "in part": "within", "no": "contradicted", "not judged": "untestable"}


def context(results: Results) -> dict[str, Any]:
    """The answer, the badges with their reasons, three tiles, and what it rests on."""
    earned = records(results.table("evaluation/badges.csv", BADGES))
    verdicts = {badge["badge"]: badge["verdict"] for badge in earned}
    source = results.json("artifact/source.json")
    labels = results.table("tidy/labels.csv", LABELS)
    return {
        "answer": ANSWERS[verdicts.get("reproduced", "not judged")],
        "badges": [badge | {"slug": SHAPES[badge["verdict"]]} for badge in earned],
        "tiles": _tiles(results),
        "others": _others(results),
        "source": source,
        "served": SERVED.get(source["source"], source["source"]) if source else None,
        "transcribed": source is not None and source["source"] == "published",
        "evidence": {
            "cells": len(labels), "devices": labels["device"].nunique(), "models": labels["model"].nunique()
        },
    }  # fmt: skip


def _tiles(results: Results) -> list[dict[str, Any]]:
    """How many of the authors' claims hold, of the summary tables' figures come out, of the defects matter."""
    mine = [claim for claim in claims.audited(results) if claim["whose"] == "authors"]
    comparison = results.table("evaluation/summary_comparison.csv", SUMMARY_COMPARISON)
    defects = results.table("tidy/defects.csv", DEFECTS)
    holding, contradicted = _counts(mine)
    undecided = len(mine) - holding - contradicted
    equal, affecting = int(comparison["equal"].sum()), int((defects["severity"] == "affects results").sum())
    unexplained = int((~comparison["equal"] & comparison["cause"].isna()).sum())
    tables = comparison["table"].nunique()
    counted = f"{tables} " if tables else ""
    return [
        {
            "to": "claims",
            "n": holding,
            "of": len(mine),
            "what": "claims of the authors hold",
            "rest": f"{contradicted} contradicted, {undecided} not decided here",
        },
        {
            "to": "summaries",
            "n": equal,
            "of": len(comparison),
            "what": f"figures of the artifact’s {counted}summary tables come out again",
            "rest": f"{unexplained or 'none'} of the others without a known cause" if tables else NEEDS_ARTIFACT,
        },
        {
            "to": "defects",
            "n": affecting,
            "of": len(defects),
            "what": "defects found affect results",
            "rest": "none was repaired silently",
        },
    ]


def _counts(audited: list[dict[str, Any]]) -> tuple[int, int]:
    """How many hold, and how many are contradicted."""
    holding = sum(claim["slug"] in ("reproduced", "within") for claim in audited)
    return holding, sum(claim["slug"] == "contradicted" for claim in audited)


def _others(results: Results) -> list[dict[str, Any]]:
    """What others claim, counted apart from the authors' own claims."""
    found = claims.audited(results)
    groups = claims.GROUPS | claims.STUDIES
    return [
        {
            "title": title,
            "to": f"{'studies' if whose == 'study' else 'index'}.html#claims-{whose.replace(' ', '-')}",
            "claims": len(mine),
            "tally": claims.tally(mine),
        }
        for whose, (title, _) in groups.items()
        if whose != "authors" and (mine := [claim for claim in found if claim["whose"] == whose])
    ]


def accuracy(results: Results) -> dict[str, Any]:
    """Error of every method over the same cells, and the figure of forecasts beside measurements."""
    drawn = MAIN in results.names("figures", ".json")
    return {
        "headline": _headline(results),
        "rests": _rests(results),
        "figure": figure(results, MAIN) if drawn else None,
    }


def _rests(results: Results) -> dict[str, float] | None:
    """The blind figure, the present one, that without what nothing public gives, and the second design's."""
    table = results.table("evaluation/ablation.csv", ABLATION)
    if table.empty:
        return None
    authors, first, present, bare, clean = (table.iloc[place] for place in (0, 1, 2, -3, -1))
    figures = {"authors": authors, "present": present, "bare": bare, "clean": clean}
    found = {name: float(row["mape_percent"]) for name, row in (figures | {"first": first}).items()}
    unseen = {f"{name}_unseen": float(row["unseen_percent"]) for name, row in figures.items()}
    return found | unseen | {"unseen": float(present["unseen_percent"])}


def _headline(results: Results) -> list[dict[str, Any]]:
    """Error of every method over NVIDIA's plain cells, which all predictors cover: the authors', then ours."""
    mape = results.table("evaluation/mape.csv", MAPE)
    plain = mape[(mape["device"] == "NVIDIA") & (mape["option"] == "none") & (mape["distribution"] == "all")]
    cells = {(row["predictor"], row["mode"]): row for row in plain.to_dict("records")}
    shown = distinct(plain["predictor"])
    return [
        {
            "method": display(PREDICTORS, name).removesuffix(" (ours)"),
            "cells": [
                cells.get((who, mode)) if who in shown else None
                for who in (f"{name}_published", name)
                for mode in MODES
            ],
            "twin": name in TWINS,
        }
        for name in dict.fromkeys(method(name) for name in shown)
    ]
