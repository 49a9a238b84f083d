"""Points of a figure for a reader to look at one by one: what its views name, taken from its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tilecast.present.page.render import is_absent
from tilecast.present.page.shown import in_words, records

DIGITS = 4  # of a coordinate: more than an eye tells apart


def points(data: Path, view: dict[str, Any]) -> dict[str, Any]:
    """A view with its points: a series for each group that has any, its points from left to right."""
    import pandas as pd

    (across, _), (up, _) = view["x"], view["y"]
    rows = pd.read_csv(data).dropna(subset=[across, up]).sort_values([across, up], kind="stable")
    rows = rows[(rows[across] > 0) & (rows[up] > 0)]  # both axes are logarithmic
    series = []
    for value, (name, colour) in view["groups"].items():
        mine = rows[rows[view["by"]].map(_text) == value]
        front = mine[view["front"]].tolist() if view["front"] else []
        if len(mine):
            series.append(
                {
                    "name": name,
                    "colour": colour,
                    "x": [float(f"{number:.{DIGITS}g}") for number in mine[across]],
                    "y": [float(f"{number:.{DIGITS}g}") for number in mine[up]],
                    "words": [_words(row, view["words"]) for row in records(mine)],
                    "front": [place for place, on in enumerate(front) if on],
                }
            )
    return {"title": view["title"], "x": view["x"][1], "y": view["y"][1], "exact": view["exact"], "series": series}


def _text(value: Any) -> str:
    """The value as a group is named by it: whole numbers without their point."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(row: dict[str, Any], before: dict[str, str]) -> str:
    """Which point it is: the values of the columns that say so, each with what stands before it."""
    named = {name: in_words(name, row[name]) for name in before if not is_absent(row[name])}
    return ", ".join(f"{before[name]}{_text(value)}" for name, value in named.items())
