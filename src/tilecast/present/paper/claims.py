"""The table of verdicts: every published claim, what came out, and why."""

from __future__ import annotations

import pandas as pd

from tilecast.present.paper.model import Column, PaperTable, or_why


def table(claims: pd.DataFrame) -> PaperTable:
    """A row a claim in the order of the claims file."""
    rows = []
    for row in claims.to_dict("records"):
        unit = f" {row['unit']}" if isinstance(row["unit"], str) and row["unit"] else ""
        value = or_why(row["reproduced"], str(row["verdict"]))
        rows.append(
            {
                "id": row["id"],
                "quote": row["quote"],
                "source": row["source"],
                "claimed": f"{row['claimed']}{unit}",
                "reproduced": value if value == row["verdict"] else f"{value}{unit}",
                "n": row["n"],
                "verdict": row["verdict"],
                "explanation": row["explanation"],
            }
        )
    counts = claims["verdict"].value_counts()
    order = ("reproduced", "within tolerance", "contradicted", "no data", "not testable here")
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts)
    return PaperTable(
        "claims",
        "Published claims and what came of them",
        f"{len(rows)} claims: {summary}. n: rows the value rests on." if rows else "No claim was audited.",
        (
            Column("id", "Claim"),
            Column("quote", "Words", prose=True),
            Column("source", "Source"),
            Column("claimed", "Claimed"),
            Column("reproduced", "Came out"),
            Column("n", "n", digits=0),
            Column("verdict", "Verdict"),
            Column("explanation", "Because", prose=True),
        ),
        tuple(rows),
    )
