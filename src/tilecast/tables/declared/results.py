"""The list of what a whole run made, by which it can be checked later."""

from __future__ import annotations

from tilecast.tables.schema import Table, count, text

RESULTS = Table(
    "results",
    "every file that the steps of a whole run made; and, without figures, what else steps make when asked",
    ("path",),
    path=text("path within the folder of results; * stands for any name"),
    size_bytes=count("its size", unit="bytes", empty="made when asked"),
    sha256=text("its SHA-256", empty="made when asked"),
)
