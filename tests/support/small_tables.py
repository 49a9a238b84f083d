"""Rows of a declared table of which a test states only what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.tables.io import write
from tilecast.tables.schema import Column, Table


def plain(column: Column) -> Any:
    """A value that the column allows: nothing, where it may be empty."""
    if column.nullable:
        return None
    if column.kind in ("integer", "number"):
        return 1 + max(column.above or 0, column.minimum or 0)
    return column.values[0] if column.values else column.kind == "flag" or "any"


def write_rows(path: Path, table: Table, *rows: dict[str, Any]) -> None:
    """Write rows that hold what is given, and a plain value in every other column."""
    every = {name: plain(column) for name, column in table.columns.items()}
    write(pd.DataFrame([every | row for row in rows], columns=list(table.columns)), path, table)
