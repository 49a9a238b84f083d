"""Every published claim: what was said, what came out, from which rows, and the verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.shown import Row, records, shown
from tilecast.tables.declared.claims import CLAIM_ROWS, CLAIMS

# verdict -> (slug for shape and colour, what it means)
VERDICTS: dict[str, tuple[str, str]] = {
    "reproduced": ("reproduced", "the same figure comes out"),
    "within tolerance": ("within", "close to what comes out, by the claim's own tolerance"),
    "contradicted": ("contradicted", "something else comes out"),
    "model disagrees": ("disagrees", "nothing was measured, and a model of this project says otherwise"),
    "no data": ("nodata", "the data at hand hold no such cell"),
    "not testable here": ("untestable", "nothing here can decide it"),
}
ROWS_SHOWN = 12


def tally(claims: list[Row]) -> list[Row]:
    """For every verdict its shape, meaning, and claims in all and by document, in the order of the audit."""
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


def audited(results: Results) -> list[Row]:
    """The audited claims with the verdict's shape and rank, and the claimed figure with its unit."""
    ranks = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
    return [
        row | {"slug": VERDICTS[row["verdict"]][0], "rank": ranks[row["verdict"]], "claimed": _with_unit(row)}
        for row in records(results.table("evaluation/claims.csv", CLAIMS))
    ]


def _with_unit(claim: Row) -> str:
    unit = claim["unit"] or ""
    return f"{claim['claimed']} {unit}".rstrip()


def context(results: Results) -> dict[str, Any]:
    """Claims with the first rows each rests on."""
    claims = audited(results)
    names = "dataset row measured_ms predicted_ms value"
    by_claim = results.table("evaluation/claim_rows.csv", CLAIM_ROWS).groupby("id", sort=False)
    cells = {str(name): shown(rows.head(ROWS_SHOWN), CLAIM_ROWS, names).rows for name, rows in by_claim}
    return {
        "claims": [claim | {"cells": cells.get(claim["id"], [])} for claim in claims],
        "documents": list(dict.fromkeys(claim["source"] for claim in claims)),
        "about": [(name, document.title, document.about) for name, document in results.documents.items()],
        "tally": tally(claims),
        "heads": CLAIMS.columns,
        "cell_columns": shown([], CLAIM_ROWS, names).columns,
        "links": results.links({"Claims": "evaluation/claims.csv", "Rows used": "evaluation/claim_rows.csv"}),
    }
