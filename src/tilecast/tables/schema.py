"""What a table is declared by: its columns, what each holds, and how each is titled and shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

Kind = Literal["text", "integer", "number", "flag"]
UNITS = {
    "percent": "%",
    "ms": "ms",
    "us": "µs",
    "s": "s",
    "bytes": "bytes",
    "gb": "GB",
    "flops": "FLOP",
    "hz": "Hz",
    "w": "W",
    "c": "°C",
    "kwh": "kWh",
    "usd": "$",
}
DIGITS: dict[Kind, int | None] = {"integer": 0, "number": 1, "text": None, "flag": None}


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
    digits: int | None = None  # decimals shown of a number, by default one
    prose: bool = False  # a text that may wrap

    @property
    def nullable(self) -> bool:
        """Whether a cell may be empty."""
        return bool(self.empty)

    def named(self, name: str) -> Column:
        """The column with title and unit from `name` where they are not declared."""
        words, unit = name.split("_"), ""
        if "per" in words[1:-1]:  # baseline_tokens_per_s: Baseline, tokens/s
            place = words.index("per")
            unit = f"{UNITS.get(words[place - 1], words[place - 1])}/{' '.join(words[place + 1 :])}"
            words = words[: max(place - 1, 1)]
        elif len(words) > 1 and words[-1] in UNITS:  # latency_ms: Latency, ms
            unit = UNITS[words.pop()]
        title = " ".join(words).capitalize()
        unit = unit if self.unit is None else self.unit
        digits = self.digits if self.digits is not None else DIGITS[self.kind] if unit != "$" else 2
        return replace(self, title=self.title or title, unit=unit, digits=digits)


class Table:
    """A declared table: what it holds, its columns in order, and those whose combination may occur only once."""

    def __init__(self, name: str, meaning: str, key: tuple[str, ...], /, **columns: Column) -> None:
        self.name, self.meaning, self.key = name, meaning, key
        self.columns = {name: column.named(name) for name, column in columns.items()}

    def __str__(self) -> str:
        return self.name


text = partial(Column, "text")
prose = partial(Column, "text", prose=True)
integer = partial(Column, "integer")
count = partial(Column, "integer", minimum=0)
size = partial(Column, "integer", above=0)
number = partial(Column, "number")
amount = partial(Column, "number", minimum=0)
positive = partial(Column, "number", above=0)
flag = partial(Column, "flag")
