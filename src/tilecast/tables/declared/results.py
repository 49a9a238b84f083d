"""The list of what a whole run made, by which it can be checked later."""

from __future__ import annotations

from tilecast.tables.schema import Table, amount, count, text

RESULTS = Table(
    "results",
    "every file that the steps of a whole run made; and, without figures, what else steps make when asked",
    ("path",),
    path=text("path within the folder of results; * stands for any name"),
    size_bytes=count("its size", unit="bytes", empty="made when asked"),
    sha256=text("its SHA-256", empty="made when asked"),
)

MINUTES = Table(
    "minutes",
    "how long a run takes to make a file from nothing, on one core (resources/reference/minutes.csv)",
    ("file",),
    file=text("the file"),
    steps=count("steps that it needs"),
    minutes=amount("time of these steps, one after the other", unit="min", digits=2),
)
