"""A paper table: columns with a unit and one number of digits, rows whose every cell says something."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilecast.tables.naming import significant

NO_LABEL = "no label"
NO_PREDICTION = "no prediction"
NOT_RUN = "not run"
UNDEFINED = "undefined"  # such as an interval from one cell
NEEDS_ARTIFACT = "needs the full artifact"


@dataclass(frozen=True)
class Column:
    """A column: `digits` significant digits, 0 for whole numbers, None for text; `prose` may wrap."""

    key: str
    header: str
    unit: str = ""
    digits: int | None = None
    prose: bool = False

    @property
    def heading(self) -> str:
        """The header with its unit."""
        return f"{self.header} ({self.unit})" if self.unit else self.header


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: rows hold a number, or the words that say why there is none."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            for column in self.columns:
                value = row[column.key]
                if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
                    raise ValueError(f"table {self.name}: the cell {column.key} of {dict(row)} says nothing")

    @property
    def caption(self) -> str:
        """Title and note as one paragraph."""
        return f"{self.title}. {self.note}"


def shown(value: Any, column: Column) -> str:
    """The cell in words: a number with its column's digits, a text as one line of printable characters."""
    if isinstance(value, str) or column.digits is None:
        return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return f"{int(value):,}" if column.digits == 0 else significant(float(value), column.digits)


def or_why(value: Any, why: str) -> Any:
    """The number, or the reason where it is missing."""
    return why if value is None or value != value else value
