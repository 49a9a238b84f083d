"""The table of verdicts: every published claim, what came out, and why."""

from __future__ import annotations

import pandas as pd

from tilecast.present.paper.model import PaperTable, or_why
from tilecast.tables.declared.claims import CLAIMS

TABLES = {"results/evaluation/claims.csv": "claims.claims"}
NAMES, ORDER = ("claims",), 10
SHOWN = ("id", "quote", "source", "claimed", "reproduced", "n", "verdict", "explanation")


def tables(claims: pd.DataFrame) -> list[PaperTable]:
    """A row a claim in the order of the claims file."""
    rows = []
    for row in claims.to_dict("records"):
        unit = f" {row['unit']}" if isinstance(row["unit"], str) and row["unit"] else ""
        value = or_why(row["reproduced"], str(row["verdict"]))
        reproduced = value if value == row["verdict"] else f"{value}{unit}"
        rows.append({str(name): cell for name, cell in row.items()} | {"reproduced": reproduced})
        rows[-1]["claimed"] = f"{row['claimed']}{unit}"
    counts = claims["verdict"].value_counts()
    summary = ", ".join(
        f"{counts[verdict]} {verdict}" for verdict in CLAIMS.columns["verdict"].values or () if verdict in counts
    )
    return [
        PaperTable(
            "claims",
            "Published claims and what came of them",
            f"{len(rows)} claims: {summary}. n: rows the value rests on." if rows else "No claim was audited.",
            {name: CLAIMS.columns[name] for name in SHOWN},
            tuple(rows),
        )
    ]
