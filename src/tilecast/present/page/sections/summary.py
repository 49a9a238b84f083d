"""The first screen: what was claimed, how much of it holds, on which evidence."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.sections import claims
from tilecast.present.page.sections.provenance import SERVED
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.evaluation import ABLATION, MAPE
from tilecast.tables.naming import MODES, PREDICTORS, display, method, ordered


def context(results: Results) -> dict[str, Any]:
    """Verdict counts, the evidence behind them and each predictor's headline error; None where not produced."""
    everything = claims.audited(results)
    audited = [claim for claim in everything if claim["whose"] == "authors"]
    others = dict.fromkeys(claim["whose"] for claim in everything if claim["whose"] != "authors")
    source = results.json("artifact/source.json")
    holding, contradicted = _counts(audited)
    return {
        "others": [
            {
                "subject": whose,
                "claims": len(part),
                "holding": _counts(part)[0],
                "contradicted": _counts(part)[1],
            }
            for whose in others
            if (part := [claim for claim in everything if claim["whose"] == whose])
        ],
        "claims": audited,
        "holding": holding,
        "contradicted": contradicted,
        "open": len(audited) - holding - contradicted,
        "tally": claims.tally(audited),
        "documents": list(dict.fromkeys(claim["source"] for claim in audited)),
        "source": source,
        "served": SERVED.get(source["source"], source["source"]) if source else None,
        "transcribed": source is not None and source["source"] == "published",
        "evidence": _evidence(results),
        "headline": _headline(results),
        "rests": _rests(results),
    }


def _counts(audited: list[dict[str, Any]]) -> tuple[int, int]:
    """How many hold, and how many are contradicted."""
    holding = sum(claim["slug"] in ("reproduced", "within") for claim in audited)
    return holding, sum(claim["slug"] == "contradicted" for claim in audited)


def _evidence(results: Results) -> dict[str, int] | None:
    labels = results.table("tidy/labels.csv", LABELS)
    if labels is None:
        return None
    return {"cells": len(labels), "devices": labels["device"].nunique(), "models": labels["model"].nunique()}


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
    if mape is None:
        return []
    plain = mape[(mape["device"] == "NVIDIA") & (mape["option"] == "none") & (mape["distribution"] == "all")]
    cells = {(row["predictor"], row["mode"]): row for row in plain.to_dict("records")}
    methods = dict.fromkeys(method(name) for name in ordered(PREDICTORS, plain["predictor"]))
    return [
        {
            "method": display(PREDICTORS, name).removesuffix(" (ours)"),
            "cells": [cells.get((who, mode)) for who in (f"{name}_published", name) for mode in MODES],
        }
        for name in methods
    ]
