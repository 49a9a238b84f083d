"""The paper's tables, from the fragments this project writes (the only HTML that is taken as it is)."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tilecast.report.results import Results
from tilecast.report.sections.figures import links


def context(results: Results) -> dict[str, Any]:
    """Every declared table fragment with links to its other forms."""
    tables = []
    for name in results.names("tables", ".html"):
        path = results.path(f"tables/{name}.html")
        assert path is not None
        tables.append(
            {
                "name": name,
                "html": Markup(path.read_text(encoding="utf-8")),
                "links": links(results, "tables", name, (".csv", ".tex")),
            }
        )
    return {"tables": tables}
