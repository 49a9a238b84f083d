"""The audit: verdicts, and the rows each rests on."""

from __future__ import annotations

from functools import partial

from tilecast.tables.schema import Table, amount, count, prose, text

WHOSE = ("authors", "third-party guide", "survey", "study", "other")
KINDS = ("recomputed figure", "existence", "citation", "arithmetic", "expectation for a machine")
VERDICTS = (
    "reproduced",
    "within tolerance",
    "contradicted",
    "model disagrees",
    "no data",
    "not testable here",
)

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
    id=text("short name of the claim", title="Name"),
    title=prose("the claim in plain words", title="Claim"),
    whose=text("whose claim it is", title="Whose", values=WHOSE),
    source=text("document that makes the claim", title="Document"),
    kind=text("what it is about", values=KINDS),
    hardware=prose("hardware it speaks of", empty="none named"),
    quote=prose("the words of the claim", title="As stated"),
    claimed=text("the figure or statement claimed", digits=0),
    unit=text("its unit", empty="none"),
    reproduced=text("what came out", digits=0, empty="no figure"),
    n=count("rows the value rests on", title="n"),
    verdict=text("outcome of the audit", values=VERDICTS),
    definition=text("query that gives the value"),
    explanation=prose("one sentence for the reader"),
    other_readings=prose("what other definitions or other arithmetic give", empty="none tried"),
)

BADGES = Table(
    "badges",
    "the artifact, in the words of the badges that conferences give",
    ("badge",),
    badge=text("badge", values=("available", "functional", "reproduced")),
    verdict=text("whether it is earned", values=("yes", "in part", "no", "not judged")),
    reason=prose("why"),
)
