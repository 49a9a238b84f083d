"""Every published claim: what was said, what came out, from which rows, and the verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.tables.declared.claims import CLAIM_ROWS, CLAIMS

# verdict -> (slug for shape and colour, plural-proof words for a sentence)
VERDICTS: dict[str, tuple[str, str]] = {
    "reproduced": ("reproduced", "the same figure comes out"),
    "within tolerance": ("within", "close to what comes out, by the claim's own tolerance"),
    "contradicted": ("contradicted", "something else comes out"),
    "no data": ("nodata", "the data at hand hold no such cell"),
    "not testable here": ("untestable", "nothing here can decide it"),
}
ROWS_SHOWN = 12
CELL_COLUMNS = (
    Column("dataset", "Table"),
    Column("row", "Row"),
    Column("measured_ms", "Measured", "ms", 2, absent="not a latency"),
    Column("predicted_ms", "Predicted", "ms", 2, absent="not a latency"),
    Column("value", "Value", right=True),
)


def tally(claims: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every verdict its shape, meaning, number of claims in all and by document, in the order of the audit."""
    documents = list(dict.fromkeys(claim["source"] for claim in claims))
    counts = Counter((claim["verdict"], claim["source"]) for claim in claims)
    return [
        {
            "verdict": verdict,
            "slug": slug,
            "meaning": meaning,
            "claims": [claim for claim in claims if claim["verdict"] == verdict],
            "by_document": [counts[verdict, document] for document in documents],
        }
        for verdict, (slug, meaning) in VERDICTS.items()
    ]


def records(results: Results) -> list[dict[str, Any]]:
    """The audited claims as dictionaries, empty cells as None, with the verdict's shape and rank."""
    frame = results.table("evaluation/claims.csv", CLAIMS)
    assert frame is not None
    ranks = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
    rows = frame.astype("object").where(frame.notna(), None).to_dict("records")
    return [
        {str(key): value for key, value in row.items()}
        | {"slug": VERDICTS[row["verdict"]][0], "rank": ranks[row["verdict"]], "claimed": _with_unit(row)}
        for row in rows
    ]


def _with_unit(claim: dict[Any, Any]) -> str:
    unit = claim["unit"] or ""
    return f"{claim['claimed']}{unit}" if unit in ("", "%") else f"{claim['claimed']} {unit}"


def context(results: Results) -> dict[str, Any]:
    """Claims with the first rows each rests on."""
    claims = records(results)
    cells = _cells(results)
    return {
        "claims": [claim | {"cells": cells.get(claim["id"], [])} for claim in claims],
        "documents": list(dict.fromkeys(claim["source"] for claim in claims)),
        "about": [(name, document.title, document.about) for name, document in results.documents.items()],
        "tally": tally(claims),
        "cell_columns": CELL_COLUMNS,
        "links": [
            *results.links("evaluation", "claims", (".csv",), "Claims"),
            *results.links("evaluation", "claim_rows", (".csv",), "Rows used"),
        ],
    }


def subjects(results: Results) -> dict[str, str]:
    """Document -> what its claims are about."""
    return {name: document.subject for name, document in results.documents.items()}


def _cells(results: Results) -> dict[str, list[dict[str, Any]]]:
    """The first rows of every claim."""
    frame = results.table("evaluation/claim_rows.csv", CLAIM_ROWS)
    if frame is None:
        return {}
    return {
        str(name): [
            {str(key): value for key, value in row.items()} for row in rows.head(ROWS_SHOWN).to_dict("records")
        ]
        for name, rows in frame.groupby("id", sort=False)
    }
