"""Predicted against measured end-to-end latency of every cell, both axes logarithmic.

The line is the measured value, the band ±20 % around it.
"""

import numpy as np
import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Predicted against measured", 20

BAND_PERCENT = 20
COLUMNS = 2


def shares_in_band(cells: pd.DataFrame, predictors: list[str]) -> dict[str, float]:
    """Percent of each predictor's forecasts that lie in the band."""
    close = cells["ape_percent"] <= BAND_PERCENT
    return {name: 100 * float(close[cells["predictor"] == name].mean()) for name in predictors}


def draw(errors: pd.DataFrame) -> style.Picture:
    """One panel a method, every cell of every option; hollow where the authors predicted, filled where we did."""
    cells = errors[errors["predicted_ms"] > 0]
    if cells.empty:
        return style.empty_panel(TITLE, "no cell has a prediction")
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    methods = list(dict.fromkeys(naming.method(name) for name in predictors))
    within = shares_in_band(cells, predictors)
    both = cells[["measured_ms", "predicted_ms"]]
    low, high = float(both.min().min()) * 0.7, float(both.max().max()) * 1.4
    line, band = np.array([low, high]), BAND_PERCENT / 100

    figure, panels = style.grid(len(methods), COLUMNS, 2.35, sharex=True, sharey=True)
    for method, axes in zip(methods, panels, strict=True):
        mine = [name for name in predictors if naming.method(name) == method]
        for name in mine:
            part = cells[cells["predictor"] == name]
            look = style.marks(name) | {"markersize": 3.2, "markeredgewidth": 0.7}
            axes.plot(part["measured_ms"], part["predicted_ms"], linestyle="none", **look)
        style.plain_log(axes.xaxis)
        style.plain_log(axes.yaxis)
        axes.set(xlim=line, ylim=line, aspect="equal")
        axes.fill_between(line, line * (1 - band), line * (1 + band), color=style.FAINT, linewidth=0, zorder=0)
        axes.plot(line, line, color=style.INK, linewidth=0.8, zorder=0.5)
        shares = (f"{'authors' if naming.is_published(name) else 'ours'} {within[name]:.0f} %" for name in mine)
        heading = naming.predictor_name(mine[0]).removesuffix(" (authors)").removesuffix(" (ours)")
        axes.set_title(f"{heading}\nin band: {', '.join(shares)}", fontsize=style.MINOR_PT)
    measured: style.Look = {"rotation": 45, "rotation_mode": "anchor", "fontsize": style.MINOR_PT - 1.5}
    panels[0].text(low * 1.6, low * 2.6, "measured", **measured)
    style.label_lowest(panels, COLUMNS, "Measured latency (ms)")
    for axes in panels[::COLUMNS]:
        axes.set_ylabel("Predicted latency (ms)")
    data = cells[["predictor", *style.CELL, "option", "measured_ms", "predicted_ms"]]
    n = len(cells.drop_duplicates([*style.CELL, "option"]))
    return style.finish(figure, data, _finding(n, within, len(errors) - len(cells)))


def _finding(n: int, within: dict[str, float], dropped: int) -> style.Finding:
    """Who puts most forecasts within the band."""
    best = max(within, key=within.__getitem__)
    title = (
        f"{naming.predictor_name(best)} puts {within[best]:.0f} % of its forecasts within "
        f"±{BAND_PERCENT} % of the measurement"
    )
    zero = f" {dropped} predictions of 0 ms cannot be drawn on a log axis." if dropped else ""
    note = (
        f"n = {n} measured cells. Line: measured value; band: ±{BAND_PERCENT} %. Hollow: authors', filled: ours."
    )
    caption = (
        f"Predicted against measured end-to-end latency of {n} cells (plain, fused and four-GPU; inference and "
        f"training), both axes logarithmic in milliseconds, one panel a method. The line is the measured value, "
        f"the band ±{BAND_PERCENT} % around it."
    )
    alt = f"{title}. Share within the band: {style.worded(within)}."
    return style.Finding(title, note + zero, caption + zero, alt, n)
