"""Predicted against measured end-to-end latency of every cell, both axes logarithmic.

The line is the measured value, the band ±20 % around it.
"""

import numpy as np
import pandas as pd

from tilecast.evaluate.findings import shares_within
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Predicted against measured", 20

BAND_PERCENT = 20
COLUMNS = 3
KEY = [*style.CELL, "option"]


def draw(errors: pd.DataFrame) -> style.Picture:
    """One panel a predictor, all of the same cells: those that every predictor drawn has forecast."""
    cells = style.compared(errors[errors["predicted_ms"] > 0])
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    forecasts = cells.groupby(KEY)["predictor"].transform("nunique")
    cells = cells[forecasts == len(predictors)]
    if cells.empty:
        return style.empty_panel(TITLE, "no cell has a prediction of every predictor")
    shares = shares_within(cells, BAND_PERCENT)
    within = {name: shares[name] for name in predictors}
    both = cells[["measured_ms", "predicted_ms"]]
    low, high = float(both.min().min()) * 0.7, float(both.max().max()) * 1.4
    line, band = np.array([low, high]), BAND_PERCENT / 100

    figure, panels = style.grid(len(predictors), COLUMNS, 2.35, sharex=True, sharey=True)
    for name, axes in zip(predictors, panels, strict=True):
        part = cells[cells["predictor"] == name]
        look = style.marks(name) | {"markersize": 3.2, "markeredgewidth": 0.7}
        axes.plot(part["measured_ms"], part["predicted_ms"], linestyle="none", **look)
        style.plain_log(axes.xaxis)
        style.plain_log(axes.yaxis)
        axes.set(xlim=line, ylim=line, aspect="equal")
        axes.fill_between(line, line * (1 - band), line * (1 + band), color=style.FAINT, linewidth=0, zorder=0)
        axes.plot(line, line, color=style.INK, linewidth=0.8, zorder=0.5)
        heading = f"{naming.predictor_name(name)}\nin band: {within[name]:.0f} %"
        axes.set_title(heading, fontsize=style.MINOR_PT)
    measured: style.Look = {"rotation": 45, "rotation_mode": "anchor", "fontsize": style.MINOR_PT - 1.5}
    panels[0].text(low * 1.6, low * 2.6, "measured", **measured)
    style.label_lowest(panels, COLUMNS, "Measured latency (ms)")
    for axes in panels[::COLUMNS]:
        axes.set_ylabel("Predicted latency (ms)")
    data = cells[["predictor", *KEY, "measured_ms", "predicted_ms"]]
    n = len(cells.drop_duplicates(KEY))
    options = [words for name, words in naming.OPTIONS_SHORT.items() if name in set(cells["option"])]
    return style.finish(figure, data, _finding(n, " and ".join(options), within), views=(_view(predictors),))


def _view(predictors: list[str]) -> style.View:
    """Every forecast beside its measurement."""
    return style.View(
        title="every forecast by its cell",
        x=("measured_ms", "Measured latency (ms)"),
        y=("predicted_ms", "Predicted latency (ms)"),
        by="predictor",
        groups={name: (naming.predictor_name(name), naming.colour(name)) for name in predictors},
        words=dict.fromkeys(KEY, "") | {"sequence_length": "sequence ", "batch_size": "batch "},
        exact=True,
        hollow=tuple(filter(naming.is_published, predictors)),
    )


def _finding(n: int, options: str, within: dict[str, float]) -> style.Finding:
    """The share of each predictor's forecasts that lie in the band."""
    shares = ", ".join(f"{naming.predictor_name(name)} {share:.0f} %" for name, share in within.items())
    title = f"Forecasts within ±{BAND_PERCENT} % of the measurement, of the same {n} cells: {shares}"
    caption = (
        f"Predicted against measured end-to-end latency of the {n} cells that every predictor shown has forecast "
        f"(inference and training; {options}), both axes logarithmic in milliseconds. "
        f"The line is the measured value, the band ±{BAND_PERCENT} % around it."
    )
    note = f"n = {n} measured cells in every panel. Line: measured value; band: ±{BAND_PERCENT} %."
    return style.Finding(title, note, caption, f"{title}.", n)
