"""What is wrong or missing in the artifact, as found while reading it."""

from __future__ import annotations

from typing import Any

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.tables.declared.artifact import DEFECTS

COLUMNS = (
    Column("kind", "Kind"),
    Column("where", "Where", prose=True),
    Column("detail", "What was found", prose=True),
    Column("severity", "Severity"),
)


def context(results: Results) -> dict[str, Any]:
    """The defects, those that affect results first."""
    frame = results.table("tidy/defects.csv", DEFECTS)
    assert frame is not None
    affects = frame["severity"] == "affects results"
    ordered = frame.assign(_rank=~affects).sort_values("_rank", kind="stable").drop(columns="_rank")
    return {"columns": COLUMNS, "rows": ordered.to_dict("records"), "affecting": int(affects.sum())}
