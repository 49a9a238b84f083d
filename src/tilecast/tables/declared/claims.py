"""The audit: verdicts, and the rows each rests on."""

from __future__ import annotations

from functools import partial

from tilecast.tables.schema import Table, amount, count, prose, text

_latency = partial(amount, digits=2, empty="not a latency")
CLAIM_ROWS = Table(
    "claim_rows",
    "the rows a claim's value rests on",
    (),
    id=text("claim"),
    dataset=text("table queried", title="Table"),
    row=text("the row, by its key"),
    measured_ms=_latency("measured latency"),
    predicted_ms=_latency("forecast latency", title="Forecast"),
    value=text("what the row contributes: an error in percent, a figure, a statement", digits=0),
)

CLAIMS = Table(
    "claims",
    "published claims and what came of them",
    ("id",),
    id=text("short name of the claim", title="Claim"),
    source=text("document that makes the claim", title="Document"),
    quote=prose("the words of the claim", title="As stated"),
    claimed=text("the figure or statement claimed", digits=0),
    unit=text("its unit", empty="none"),
    reproduced=text("what came out", digits=0, empty="no figure"),
    n=count("rows the value rests on", title="n"),
    verdict=text(
        "outcome of the audit",
        values=("reproduced", "within tolerance", "contradicted", "no data", "not testable here"),
    ),
    definition=text("query that gives the value"),
    explanation=prose("one sentence for the reader"),
)
