"""A paper table: columns as declared, rows whose every cell says something."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilecast.tables.naming import significant
from tilecast.tables.schema import Column

NO_LABEL = "no label"
NO_PREDICTION = "no prediction"
UNDEFINED = "undefined"  # such as an interval from one cell
NEEDS_ARTIFACT = "needs the full artifact"
SIGNIFICANT = {"ms": 4}  # digits of a unit; of the others three


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: rows hold a number, or the words that say why there is none."""

    name: str
    title: str
    note: str
    columns: Mapping[str, Column]
    rows: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {name: column.named(name) for name, column in self.columns.items()})
        for row in self.rows:
            for name in self.columns:
                value = row[name]
                if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
                    raise ValueError(f"table {self.name}: the cell {name} of {dict(row)} says nothing")

    @property
    def caption(self) -> str:
        """Title and note as one paragraph."""
        return f"{self.title}. {self.note}"


def heading(column: Column) -> str:
    """The column's title with its unit."""
    return f"{column.title} ({column.unit})" if column.unit else column.title


def numeric(column: Column) -> bool:
    """Whether the column holds numbers, which stand to the right."""
    return column.kind in ("integer", "number")


def shown(value: Any, column: Column) -> str:
    """The cell in words: a number with its column's digits, a text as one line of printable characters."""
    if isinstance(value, str) or not numeric(column):
        return one_line(value)
    if column.kind == "integer":
        return f"{int(value):,}"
    return significant(float(value), SIGNIFICANT.get(column.unit or "", 3))


def one_line(value: Any) -> str:
    """A text as one line of printable characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def or_why(value: Any, why: str) -> Any:
    """The number, or the reason where it is missing."""
    return why if value is None or value != value else value
