"""Points of a figure for a reader to look at one by one: what its views name, taken from its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilecast.present.page.shown import in_words

if TYPE_CHECKING:
    import pandas as pd

DIGITS = 4  # of a coordinate: more than an eye tells apart


def points(data: Path, view: dict[str, Any]) -> dict[str, Any]:
    """A view with its points: a series for each group that has any, its points from left to right.

    What says which point it is stands once in `words`, a list a column; a point has the places of its words.
    """
    import pandas as pd

    (across, _), (up, _) = view["x"], view["y"]
    rows = pd.read_csv(data).dropna(subset=[across, up]).sort_values([across, up], kind="stable")
    rows = rows[(rows[across] > 0) & (rows[up] > 0)].reset_index(drop=True)  # both axes are logarithmic
    told = {name: pd.factorize(rows[name]) for name in view["words"]}
    groups = rows[view["by"]].map(_text)
    series = []
    for value, (name, colour) in view["groups"].items():
        mine = rows[groups == value]
        front = mine[view["front"]].tolist() if view["front"] else []
        if len(mine):
            series.append(
                {
                    "name": name,
                    "colour": colour,
                    "hollow": value in view["hollow"],
                    "x": _short(mine[across]),
                    "y": _short(mine[up]),
                    "words": [places[mine.index].tolist() for places, _ in told.values()],
                    "front": [place for place, on in enumerate(front) if on],
                }
            )
    words = [
        [f"{view['words'][name]}{_text(in_words(name, value))}" for value in values]
        for name, (_, values) in told.items()
    ]
    axes = {"x": view["x"][1], "y": view["y"][1]}
    return axes | {"title": view["title"], "exact": view["exact"], "words": words, "series": series}


def _short(values: pd.Series) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _text(value: Any) -> str:
    """The value as a group is named by it: whole numbers without their point."""
    return f"{value:g}" if isinstance(value, float) else str(value)
