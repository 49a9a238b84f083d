"""The paper's tables, from the fragments this project writes (the only HTML that is taken as it is)."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.tables.declared.evaluation import SUMMARY_COMPARISON

FILTERED_ROWS = 20
DIFFERENCES = (
    Column("table", "Table"),
    Column("row", "Row"),
    Column("column", "Column"),
    Column("published", "Printed", digits=4, absent="no figure"),
    Column("recomputed", "Recomputed", digits=4, absent="no data"),
    Column("difference", "Difference", digits=4, absent="undefined"),
    Column("cause", "Cause", prose=True, absent="not explained"),
)
COUNTS = (
    Column("table", "Summary table"),
    Column("figures", "Figures", digits=0),
    Column("equal", "Equal", digits=0),
    Column("different", "Different", digits=0),
)


def context(results: Results) -> dict[str, Any]:
    """Every declared table fragment with its other forms, and the artifact's own summaries, recomputed."""
    tables = []
    for name in results.names("tables", ".html"):
        if name == "claims":  # the page has a section of its own for them
            continue
        path = results.path(f"tables/{name}.html")
        assert path is not None
        fragment = Markup(path.read_text(encoding="utf-8"))
        long = fragment.count("<tr") > FILTERED_ROWS
        tables.append(
            {
                "name": name,
                "html": fragment,
                "filter": long,
                "links": results.links("tables", name, (".csv", ".tex")),
            }
        )
    return {"tables": tables, "comparison": _comparison(results)}


def _comparison(results: Results) -> dict[str, Any] | None:
    """How many figures of the artifact's summary tables come out again, and each that does not, with its cause."""
    frame = results.table("evaluation/summary_comparison.csv", SUMMARY_COMPARISON)
    if frame is None:
        return None
    counts = frame.groupby("table", sort=False)["equal"].agg(["size", "sum"]).reset_index()
    return {
        "figures": len(frame),
        "equal": int(frame["equal"].sum()),
        "counts": [
            {"table": table, "figures": size, "equal": same, "different": size - same}
            for table, size, same in counts.itertuples(index=False)
        ],
        "count_columns": COUNTS,
        "differences": frame[~frame["equal"]].to_dict("records"),
        "columns": DIFFERENCES,
    }
