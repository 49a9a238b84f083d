"""What the pictures of the expert-parallel study share, and the original's own pictures of one system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tilecast.moe.names import STRATEGIES
from tilecast.present.figures import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE, PROPHET = "#8c8c8c", "#0072B2"
MODES = {"as_published": "As published", "physical": "As physics allows"}
# name of the file -> column without its prefix, axis, words
KINDS = {
    "throughput_comparison": ("tokens_per_s", "Tokens per second", "Throughput"),
    "communication_overhead": ("communication_percent", "Communication (% of time)", "Communication overhead"),
    "cost_efficiency": ("usd_per_million_tokens", "$ per 1M tokens", "Cost"),
}


def keys(bars: bool = False) -> list[Artist]:
    """What baseline and Prophet look like."""
    named = (("Baseline", BASELINE), ("Prophet (with prefetching)", PROPHET))
    if bars:
        return [Patch(facecolor=colour, label=name) for name, colour in named]
    faces = ("white", PROPHET)
    return [
        Line2D([], [], linestyle="none", marker="o", markersize=5, color=colour, label=name, markerfacecolor=face)
        for (name, colour), face in zip(named, faces, strict=True)
    ]


def one_system(table: pd.DataFrame, system: str, kind: str) -> Figure:
    """The original's picture of one system: bars by strategy, one panel a reading."""
    column, axis, words = KINDS[kind]
    rows = table[table["system"] == system]
    figure = style.canvas(2.3)
    panels = figure.subplots(1, 2)
    for panel, mode in zip(panels, MODES, strict=True):
        _bars(panel, rows[rows["mode"] == mode], column)
        panel.set_title(MODES[mode])
    panels[0].set_ylabel(axis)
    style.frame(
        figure, f"{words} on {system}", "From the study's inputs; no figure is measured.", keys=keys(bars=True)
    )
    return figure


def _bars(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    found = {row["strategy"]: row for row in rows.to_dict("records")}
    highest = rows[[f"baseline_{column}", f"prophet_{column}"]].max().max()
    highest = highest if highest > 0 else 1.0
    for place, strategy in enumerate(STRATEGIES):
        row = found[strategy]
        for side, (who, colour) in enumerate((("baseline", BASELINE), ("prophet", PROPHET))):
            value = row[f"{who}_{column}"]
            if value != value:
                if side == 0:
                    panel.text(place, highest * 0.03, "cannot run", rotation=90, ha="center", color=style.MUTED)
                continue
            panel.bar(place + (side - 0.5) * 0.38, value, width=0.36, color=colour)
            panel.text(
                place + (side - 0.5) * 0.38,
                value,
                _short(value),
                ha="center",
                va="bottom",
                fontsize=style.MINOR_PT - 1,
            )
    panel.set_xticks(range(len(STRATEGIES)), [name.replace(" ", "\n") for name in STRATEGIES.values()])
    panel.set_xlim(-0.6, len(STRATEGIES) - 0.4)
    panel.set_ylim(0, highest * 1.14)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"
