"""Predicted against measured latency on logarithmic axes, with a band of 20 percent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP = "End to end"
TITLE = "Predicted against measured"
ORDER = 20
CAPTION = (
    "Predicted against measured end-to-end latency of every cell, both axes logarithmic in milliseconds. The "
    "line is the measured value, the band ±20 % around it."
)

BAND_PERCENT = 20
COLUMNS = 2


def draw(errors: pd.DataFrame) -> style.Picture:
    """One panel a method, every cell of every option; hollow where the authors predicted, filled where we did."""
    cells = errors[errors["predicted_ms"] > 0]
    if cells.empty:
        return style.empty_panel("Predicted against measured", "no cell has a prediction")
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    methods = list(dict.fromkeys(naming.method(name) for name in predictors))
    both = cells[["measured_ms", "predicted_ms"]]
    low, high = float(both.min().min()) * 0.7, float(both.max().max()) * 1.4
    line = np.array([low, high])

    height = -(-len(methods) // COLUMNS)
    figure = style.canvas(2.35 * height)
    panels = figure.subplots(height, COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
    within: dict[str, float] = {}
    for name in predictors:
        part = cells[cells["predictor"] == name]
        axes = panels[methods.index(naming.method(name))]
        look = style.marks(name) | {"markersize": 3.2, "markeredgewidth": 0.7}
        axes.plot(part["measured_ms"], part["predicted_ms"], linestyle="none", **look)
        within[name] = 100 * float((part["ape_percent"] <= BAND_PERCENT).mean())
    for method, axes in zip(methods, panels, strict=False):
        style.plain_log(axes.xaxis)
        style.plain_log(axes.yaxis)
        axes.set(xlim=line, ylim=line, aspect="equal")
        band = BAND_PERCENT / 100
        axes.fill_between(line, line * (1 - band), line * (1 + band), color=style.FAINT, linewidth=0, zorder=0)
        axes.plot(line, line, color=style.INK, linewidth=0.8, zorder=0.5)
        mine = [name for name in predictors if naming.method(name) == method]
        shares = (f"{'authors' if naming.is_published(name) else 'ours'} {within[name]:.0f} %" for name in mine)
        heading = naming.predictor_name(mine[0]).removesuffix(" (authors)").removesuffix(" (ours)")
        axes.set_title(f"{heading}\nin band: {', '.join(shares)}", fontsize=style.MINOR_PT)
    panels[0].text(
        low * 1.6, low * 2.6, "measured", rotation=45, rotation_mode="anchor", fontsize=style.MINOR_PT - 1.5
    )
    for axes in panels[len(methods) :]:
        axes.set_axis_off()
    for place, axes in enumerate(panels[: len(methods)]):
        if place + COLUMNS >= len(methods):
            axes.set_xlabel("Measured latency (ms)")
            axes.tick_params(labelbottom=True)
        if place % COLUMNS == 0:
            axes.set_ylabel("Predicted latency (ms)")

    keys = ["device", "model", "mode", "sequence_length", "batch_size", "option"]
    n = len(cells.drop_duplicates(keys))
    best = max(predictors, key=lambda name: within[name])
    title = (
        f"{naming.predictor_name(best)} puts {within[best]:.0f} % of its forecasts within "
        f"±{BAND_PERCENT} % of the measurement"
    )
    dropped = len(errors) - len(cells)
    zero = f" {dropped} predictions of 0 ms cannot be drawn on a log axis." if dropped else ""
    note = (
        f"n = {n} measured cells. Line: measured value; band: ±{BAND_PERCENT} %. Hollow: authors', filled: ours."
    )
    style.frame(figure, title, note + zero)
    caption = (
        f"Predicted against measured end-to-end latency of {n} cells (plain, fused and four-GPU; inference and "
        f"training), both axes logarithmic in milliseconds, one panel a method. The line is the measured value, "
        f"the band ±{BAND_PERCENT} % around it." + zero
    )
    alt = f"{title}. Share within the band: {style.worded(within)}."
    return style.Picture(
        figure, cells[["predictor", *keys, "measured_ms", "predicted_ms"]], title, caption, alt, n
    )
