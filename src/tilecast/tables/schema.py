"""The words by which every table is declared: its columns, what each holds, and how each is titled and shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

Kind = Literal["text", "integer", "number", "flag"]
UNITS = {
    "percent": "%",
    "ms": "ms",
    "us": "µs",
    "bytes": "bytes",
    "hz": "Hz",
    "usd": "$",
    "kwh": "kWh",
    "gb": "GB",
}


@dataclass(frozen=True)
class Column:
    """One column: what it holds, the range or set its values lie in, and how people are shown it."""

    kind: Kind
    meaning: str
    empty: str = ""  # what an empty cell means; where this is empty, no cell may be
    minimum: float | None = None  # inclusive
    above: float | None = None  # exclusive
    values: tuple[str, ...] | None = None
    title: str = ""  # by default the column's name in words, without its unit
    unit: str | None = None  # by default what the column's name ends in
    digits: int | None = None  # decimals shown of a number
    prose: bool = False  # a text that may wrap

    @property
    def nullable(self) -> bool:
        """Whether a cell may be empty."""
        return bool(self.empty)

    def named(self, name: str) -> Column:
        """The column with title and unit from `name` where they are not declared."""
        words = name.split("_")
        unit = UNITS.get(words[-1], "") if len(words) > 1 else ""
        title = " ".join(words[:-1] if unit else words).capitalize()
        return replace(self, title=self.title or title, unit=unit if self.unit is None else self.unit)


@dataclass(frozen=True, eq=False)
class Table:
    """A declared table: its columns in order, and the columns whose combination may occur only once."""

    name: str
    columns: dict[str, Column]
    key: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {name: column.named(name) for name, column in self.columns.items()})


text = partial(Column, "text")
integer = partial(Column, "integer")
number = partial(Column, "number")
flag = partial(Column, "flag")
