"""The paper's tables, from the fragments this project writes (the only HTML that is taken as it is)."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tilecast.present.page.results import Results
from tilecast.present.page.shown import shown
from tilecast.tables.declared.evaluation import SUMMARY_COMPARISON
from tilecast.tables.schema import count

FILTERED_ROWS = 20
COUNTS = {"figures": count("x"), "equal": count("x", title="Equal"), "different": count("x")}


def context(results: Results) -> dict[str, Any]:
    """Every declared table fragment with its other forms."""
    tables = []
    for name in results.names("tables", ".html"):
        path = results.path(f"tables/{name}.html")
        if path is None or name == "claims":  # they have a section of their own
            continue
        fragment = Markup(path.read_text(encoding="utf-8"))
        forms = {"Data": f"tables/{name}.csv", "TEX": f"tables/{name}.tex"}
        about = {"filter": fragment.count("<tr") > FILTERED_ROWS, "links": results.links(forms)}
        tables.append({"name": name, "html": fragment} | about)
    return {"tables": tables}


def summaries(results: Results) -> dict[str, Any]:
    """How many figures of the artifact's summary tables come out again, and each that does not, with its cause."""
    frame = results.table("evaluation/summary_comparison.csv", SUMMARY_COMPARISON)
    counts = frame.groupby("table", sort=False)["equal"].agg(figures="size", equal="sum").reset_index()
    counts["different"] = counts["figures"] - counts["equal"]
    return {
        "figures": len(frame),
        "equal": int(frame["equal"].sum()),
        "counts": shown(counts, SUMMARY_COMPARISON, "table figures equal different", **COUNTS),
        "differences": shown(
            frame[~frame["equal"]],
            SUMMARY_COMPARISON,
            "table row column published recomputed difference cause",
        ),
    }
