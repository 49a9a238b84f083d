"""Every published claim: whose it is, what was said, what came out, from which rows, and the verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tilecast.present.page.results import Results
from tilecast.present.page.shown import Row, records, shown
from tilecast.tables.declared.claims import CLAIM_ROWS, CLAIMS

# verdict -> (slug for shape and colour, what it means)
VERDICTS: dict[str, tuple[str, str]] = {
    "reproduced": ("reproduced", "the same figure comes out, or one inside the range stated"),
    "within tolerance": ("within", "close to what comes out, by the claim's own tolerance"),
    "contradicted": ("contradicted", "something else comes out"),
    "model disagrees": ("disagrees", "nothing was measured, and a model of this project says otherwise"),
    "no data": ("nodata", "the data at hand hold no such cell"),
    "not testable here": ("untestable", "nothing here can decide it"),
}
# whose -> (title of their claims, whether they stand open)
GROUPS = {
    "authors": ("The authors’ claims", True),
    "third-party guide": ("A third-party guide", False),
    "survey": ("A survey", False),
    "other": ("Other documents", False),
}
STUDIES = {"study": ("Guides of two studies", True)}
ROWS_SHOWN = 12
ROW = "dataset row measured_ms predicted_ms value"


def audited(results: Results) -> list[Row]:
    """The audited claims with the verdict's shape and the claimed figure with its unit."""
    return [
        row | {"slug": VERDICTS[row["verdict"]][0], "claimed": f"{row['claimed']} {row['unit'] or ''}".rstrip()}
        for row in records(results.table("evaluation/claims.csv", CLAIMS))
    ]


def tally(claims: list[Row]) -> list[Row]:
    """For every verdict that occurs its shape, its meaning and the number of claims."""
    counts = Counter(claim["verdict"] for claim in claims)
    return [
        {"verdict": verdict, "slug": slug, "meaning": meaning, "n": counts[verdict]}
        for verdict, (slug, meaning) in VERDICTS.items()
        if counts[verdict]
    ]


def context(results: Results) -> dict[str, Any]:
    """Claims about the artifact, the authors' own first."""
    return _context(results, GROUPS)


def studies(results: Results) -> dict[str, Any]:
    """Claims of the studies that have nothing to do with the artifact."""
    return _context(results, STUDIES)


def _context(results: Results, groups: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    by_claim = results.table("evaluation/claim_rows.csv", CLAIM_ROWS).groupby("id", sort=False)
    cells = {str(name): shown(rows.head(ROWS_SHOWN), CLAIM_ROWS, ROW).rows for name, rows in by_claim}
    claims = [claim | {"cells": cells.get(claim["id"], [])} for claim in audited(results)]
    parts: list[dict[str, Any]] = [
        {
            "slug": whose.replace(" ", "-"),
            "title": title,
            "open": is_open,
            "claims": mine,
            "tally": tally(mine),
            "documents": [
                {"name": name, "title": document.title, "about": document.about, "url": document.url}
                for name, document in results.documents.items()
                if document.whose == whose
            ],
        }
        for whose, (title, is_open) in groups.items()
        if (mine := [claim for claim in claims if claim["whose"] == whose])
    ]
    return {
        "groups": parts,
        "verdicts": tally([claim for part in parts for claim in part["claims"]]),
        "heads": CLAIMS.columns,
        "cell_columns": shown([], CLAIM_ROWS, ROW).columns,
        "links": results.links({"Claims": "evaluation/claims.csv", "Rows used": "evaluation/claim_rows.csv"}),
    }
