"""The artifact in the words of the badges that conferences give (available, functional, reproduced), and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tilecast.tables.declared.claims import BADGES

HOLDS = ("reproduced", "within tolerance")
FETCHED = ("git", "mirror")  # sources whose files were verified against the commit


def badges(
    claims: pd.DataFrame, comparison: pd.DataFrame, defects: pd.DataFrame, source: Mapping[str, Any]
) -> pd.DataFrame:
    """The `badges` table, from the verdicts, the recomputed summary tables, the defects and the fetched commit."""
    rows = (_available(source), _functional(comparison, defects), _reproduced(claims))
    return pd.DataFrame(
        [(name, *row) for name, row in zip(("available", "functional", "reproduced"), rows, strict=True)],
        columns=list(BADGES.columns),
    )


def _available(source: Mapping[str, Any]) -> tuple[str, str]:
    if source["source"] not in FETCHED:
        return "not judged", "The artifact could not be fetched; figures transcribed from it stand in."
    verified, listed = source["files_verified"], source["files_in_commit"]
    return "yes", (
        f"{verified:,} of {listed:,} data files of the public repository's commit were read, each verified "
        "against its git blob id."
    )


def _functional(comparison: pd.DataFrame, defects: pd.DataFrame) -> tuple[str, str]:
    if comparison.empty:
        return "not judged", "This needs the full artifact."
    equal, affecting = int(comparison["equal"].sum()), int((defects["severity"] == "affects results").sum())
    tables = comparison["table"].nunique()
    return "in part" if equal else "no", (
        f"Its data alone give {equal:,} of {len(comparison):,} figures of its {tables} summary tables again. "
        f"{affecting} of {len(defects)} defects found affect results. Its code was not run here."
    )


def _reproduced(claims: pd.DataFrame) -> tuple[str, str]:
    stated = claims[(claims["whose"] == "authors") & (claims["kind"] == "recomputed figure")]
    decided = stated[stated["verdict"].isin((*HOLDS, "contradicted"))]
    if decided.empty:
        return "not judged", "No figure that the authors state could be recomputed."
    holding = int(decided["verdict"].isin(HOLDS).sum())
    verdict = "yes" if holding == len(decided) else "in part" if holding else "no"
    return verdict, (
        f"{holding} of {len(decided)} figures that the authors state come out again from their own measurements "
        "and predictions. Nothing was timed again."
    )
