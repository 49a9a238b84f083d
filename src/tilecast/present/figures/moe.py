"""What the pictures of the expert-parallel study share, and the original's own pictures of one system."""

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tilecast.moe.names import STRATEGIES
from tilecast.present.figures import style

WAYS = {"baseline": ("Baseline", "#8c8c8c"), "prophet": ("Prophet (with prefetching)", "#0072B2")}
BASELINE, PROPHET = (colour for _, colour in WAYS.values())
MODES = {"as_published": "As published", "as_described": "As described", "physical": "As physics allows"}
# name of the file -> column without its prefix, axis, words
KINDS = {
    "throughput_comparison": ("tokens_per_s", "Tokens per second", "Throughput"),
    "communication_overhead": ("communication_percent", "Communication (% of time)", "Communication overhead"),
    "cost_efficiency": ("usd_per_million_tokens", "$ per 1M tokens", "Cost"),
}


def keys() -> list[Artist]:
    """What baseline and Prophet look like as points: hollow and filled."""
    look: style.Look = {"marker": "o", "markersize": 5}
    return [
        style.mark_key(name, colour, markerfacecolor="white" if way == "baseline" else colour, **look)
        for way, (name, colour) in WAYS.items()
    ]


def one_system(table: pd.DataFrame, system: str, kind: str) -> Figure:
    """The original's picture of one system: bars by strategy, one panel a reading."""
    column, axis, words = KINDS[kind]
    rows = table[table["system"] == system]
    figure = style.canvas(2.3)
    panels = figure.subplots(1, len(MODES))
    for panel, (mode, heading) in zip(panels, MODES.items(), strict=True):
        _bars(panel, rows[rows["mode"] == mode].set_index("strategy"), column)
        panel.set_title(heading)
    panels[0].set_ylabel(axis)
    bars = [Patch(facecolor=colour, label=name) for name, colour in WAYS.values()]
    note = "From the study's inputs; no figure is measured."
    found = style.Finding(f"{words} on {system}", note, "", "", len(rows))
    return style.finish(figure, rows, found, keys=bars).figure


def _bars(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    """Two bars a strategy, without and with prefetching, their values above."""
    most = rows[[f"{way}_{column}" for way in WAYS]].max().max()
    highest = most if most > 0 else 1.0
    for place, strategy in enumerate(STRATEGIES):
        for shift, (way, (_, colour)) in zip((-0.19, 0.19), WAYS.items(), strict=True):
            value = float(rows[f"{way}_{column}"][strategy])
            if value == value:
                panel.bar(place + shift, value, width=0.36, color=colour)
                look: style.Look = {"ha": "center", "va": "bottom", "fontsize": style.MINOR_PT - 1}
                panel.text(place + shift, value, _short(value), **look)
            elif way == "baseline":
                panel.text(place, highest * 0.03, "cannot run", rotation=90, ha="center", color=style.MUTED)
    panel.set_xticks(range(len(STRATEGIES)), [name.replace(" ", "\n") for name in STRATEGIES.values()])
    panel.set_xlim(-0.6, len(STRATEGIES) - 0.4)
    panel.set_ylim(0, highest * 1.14)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _short(value: float) -> str:
    """A value in few digits: what fits above a bar."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"
