"""The models as lists of kernels: where ours and the artifact's differ, and why."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results

EQUAL = "nothing differs"
CELL = ("model", "mode", "sequence_length", "batch_size", "option")
COLUMNS = (
    Column("reason", "Reason", prose=True, absent="not explained"),
    Column("differences", "Differences", digits=0),
    Column("cells", "Graphs", digits=0),
)


def context(results: Results) -> dict[str, Any]:
    """Differences by reason, most frequent first."""
    frame = results.free("graphs/differences.csv", (*CELL, "phase", "what", "ours", "artifact", "reason"))
    assert frame is not None
    differing = frame[frame["what"] != EQUAL]
    rows = [
        {"reason": reason, "differences": len(group), "cells": len(group[list(CELL)].drop_duplicates())}
        for reason, group in differing.groupby("reason", dropna=False)
    ]
    return {
        "graphs": len(frame[list(CELL)].drop_duplicates()),
        "differing": len(differing[list(CELL)].drop_duplicates()),
        "unexplained": int(differing["reason"].isna().sum()),
        "rows": sorted(rows, key=lambda row: -row["differences"]),
        "columns": COLUMNS,
        "links": results.links("graphs", "differences", (".csv",)),
    }
