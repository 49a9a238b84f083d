"""The table of verdicts: every published claim, whose it is, and what came out."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from tilecast.present.paper.model import PaperTable, or_why
from tilecast.tables.declared.claims import CLAIMS

TABLES = {"results/evaluation/claims.csv": "claims.claims"}
NAMES, ORDER = ("claims",), 10
SHOWN = ("verdict", "title", "whose", "claimed", "reproduced", "n")


def tables(claims: pd.DataFrame) -> list[PaperTable]:
    """A row a claim about the artifact in the order of the claims file; its reasons stand in the report."""
    claims = claims[claims["whose"] != "study"]
    rows = []
    for row in claims.to_dict("records"):
        unit = f" {row['unit']}" if isinstance(row["unit"], str) and row["unit"] else ""
        made = {"claimed": f"{row['claimed']}{unit}", "reproduced": or_why(row["reproduced"], "no figure")}
        rows.append({str(name): cell for name, cell in row.items()} | made)
    counts = claims["verdict"].value_counts()
    summary = ", ".join(
        f"{counts[verdict]} {verdict}" for verdict in CLAIMS.columns["verdict"].values or () if verdict in counts
    )
    columns = {name: CLAIMS.columns[name] for name in SHOWN}
    columns |= {name: replace(columns[name], prose=True) for name in ("claimed", "reproduced")}
    return [
        PaperTable(
            "claims",
            "Published claims about the artifact and what came of them",
            f"{len(rows)} claims: {summary}. n: rows the value rests on." if rows else "No claim was audited.",
            columns,
            tuple(rows),
        )
    ]
