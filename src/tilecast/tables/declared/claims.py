"""The audit: verdicts, and the rows each rests on."""

from __future__ import annotations

from tilecast.tables.schema import Table, amount, count, text

CLAIM_ROWS = Table(
    "claim_rows",
    "the rows a claim's value rests on",
    (),
    id=text("claim"),
    dataset=text("table queried"),
    row=text("the row, by its key"),
    measured_ms=amount("milliseconds", empty="not recorded"),
    predicted_ms=amount("milliseconds", empty="not recorded"),
    value=text("what the row contributes: an error in percent, a figure, a statement"),
)

CLAIMS = Table(
    "claims",
    "claims",
    ("id",),
    id=text("short name of the claim"),
    source=text("document that makes the claim"),
    quote=text("the words of the claim"),
    claimed=text("the figure or statement claimed"),
    unit=text("its unit", empty="not recorded"),
    reproduced=text("what came out", empty="not recorded"),
    n=count("rows the value rests on"),
    verdict=text(
        "outcome of the audit",
        values=("reproduced", "within tolerance", "contradicted", "no data", "not testable here"),
    ),
    definition=text("query that gives the value"),
    explanation=text("one sentence for the reader"),
)
