"""Cumulative distribution of the absolute percentage error over the plain cells on NVIDIA GPUs."""

import matplotlib.patheffects
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from tilecast.evaluate.statistics import summary_of
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Distribution of errors", 40

SIDES = {True: "Authors' predictions", False: "Computed here"}


def error_at(errors: pd.Series, share_percent: float) -> float:
    """The error below which that share of cells lies."""
    return float(errors.quantile(share_percent / 100))


def draw(errors: pd.DataFrame) -> style.Picture:
    """Empirical cumulative distributions over the plain NVIDIA cells, the authors' above, ours beneath."""
    cells = errors[(errors["device"].map(naming.vendor) == "NVIDIA") & (errors["option"] == "none")]
    if cells.empty:
        return style.empty_panel(TITLE, "no plain NVIDIA cell has a prediction")
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    sides = [side for side in SIDES if any(naming.is_published(name) is side for name in predictors)]
    figure, panels = style.grid(len(sides), 1, 2.5, sharex=True)
    for side, axes in zip(sides, panels, strict=True):
        mine = [name for name in predictors if naming.is_published(name) is side]
        for place, name in enumerate(mine):
            values = cells["ape_percent"][cells["predictor"] == name].clip(style.CLIP_LOW_PERCENT)
            sns.ecdfplot(x=values, ax=axes, color=naming.colour(name), stat="percent", linewidth=1.6)
            _label(axes, name, values, 100 * (place + 1) / (len(mine) + 1))
        style.percent_axis(axes.xaxis, highest=max(200.0, float(cells["ape_percent"].max()) * 1.6))
        axes.set(title=SIDES[side], ylabel="Share of cells (%)", ylim=(0, 102), xlabel="")
        axes.grid()
    panels[-1].set_xlabel("Absolute error (%)")
    return style.finish(figure, cells[["predictor", *style.CELL, "ape_percent"]], _finding(cells))


def _finding(cells: pd.DataFrame) -> style.Finding:
    """Below which error half and nine in ten cells lie, for the predictor that is best at the latter."""
    n = len(cells.drop_duplicates(style.CELL))
    summary = summary_of(cells, "predictor")
    medians, p90 = (dict(zip(summary["predictor"], summary[f"{kind}_percent"])) for kind in ("median", "p90"))
    best = min(p90, key=p90.__getitem__)
    title = (
        f"Nine in ten cells stay under {style.percent(p90[best])} with {naming.predictor_name(best)}; "
        f"half stay under {style.percent(medians[best])}"
    )
    clipped = style.below_scale(cells["ape_percent"])
    note = f"n = {n} measured cells: plain inference and training on NVIDIA GPUs."
    caption = (
        f"Empirical cumulative distribution of the absolute percentage error over {n} plain cells on NVIDIA GPUs, "
        f"inference and training; horizontal axis logarithmic."
    )
    alt = f"{title}. 90th percentiles: {style.worded(p90)}. Medians: {style.worded(medians)}."
    return style.Finding(title, note + clipped, caption + clipped, alt, n)


def _label(axes: Axes, name: str, values: pd.Series, share: float) -> None:
    """The predictor's name on its own line, at a height no other line of the panel uses."""
    text = axes.annotate(
        naming.predictor_name(name).replace(" (authors)", "").replace(" (ours)", ""),
        (error_at(values, share), share),
        xytext=(5, -3),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=style.MINOR_PT,
        weight="bold",
        color=naming.colour(name),
    )
    text.set_path_effects([matplotlib.patheffects.withStroke(linewidth=2.5, foreground="white")])
