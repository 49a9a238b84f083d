"""Cumulative distribution of the absolute percentage error over the plain cells on NVIDIA GPUs."""

import pandas as pd
import seaborn as sns

from tilecast.evaluate.statistics import summary_of
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Distribution of errors", 40

DASHED, SOLID = (0, (3, 1.2)), "solid"  # the authors' predictions, and those computed here


def draw(errors: pd.DataFrame) -> style.Picture:
    """Empirical cumulative distributions over the plain NVIDIA cells: the authors' dashed, ours solid."""
    cells = errors[(errors["device"].map(naming.vendor) == "NVIDIA") & (errors["option"] == "none")]
    if cells.empty:
        return style.empty_panel(TITLE, "no plain NVIDIA cell has a prediction")
    predictors = naming.distinct(cells["predictor"])
    cells = cells[cells["predictor"].isin(predictors)]
    figure = style.canvas(3.2)
    axes = figure.subplots()
    keys = []
    for name in predictors:
        values = cells["ape_percent"][cells["predictor"] == name].clip(style.CLIP_LOW_PERCENT)
        look: style.Look = {
            "color": naming.colour(name),
            "linestyle": DASHED if naming.is_published(name) else SOLID,
        }
        sns.ecdfplot(x=values, ax=axes, stat="percent", linewidth=1.6, **look)
        keys.append(style.line_key(naming.predictor_name(name), linewidth=1.6, **look))
    style.percent_axis(axes.xaxis, highest=max(200.0, float(cells["ape_percent"].max()) * 1.6))
    axes.set(ylabel="Share of cells (%)", ylim=(0, 102), xlabel="Absolute error (%)")
    axes.grid()
    data = cells[["predictor", *style.CELL, "ape_percent"]]
    return style.finish(figure, data, _finding(cells), keys=keys, columns=4)


def _finding(cells: pd.DataFrame) -> style.Finding:
    """Below which error half and nine in ten cells lie, for the predictor that is best at the latter."""
    n = len(cells.drop_duplicates(style.CELL))
    summary = summary_of(cells, "predictor")
    medians, p90 = (dict(zip(summary["predictor"], summary[f"{kind}_percent"])) for kind in ("median", "p90"))
    best = min(p90, key=p90.__getitem__)
    title = (
        f"Nine in ten cells stay under {style.percent(p90[best], 2)} with {naming.predictor_name(best)}; "
        f"half stay under {style.percent(medians[best], 2)}"
    )
    clipped = style.below_scale(cells["ape_percent"])
    note = (
        f"n = {n} measured cells: plain inference and training on NVIDIA GPUs. Dashed: the authors' predictions."
    )
    caption = (
        f"Empirical cumulative distribution of the absolute percentage error over {n} plain cells on NVIDIA GPUs, "
        f"inference and training; horizontal axis logarithmic."
    )
    alt = f"{title}. 90th percentiles: {style.worded(p90)}. Medians: {style.worded(medians)}."
    return style.Finding(title, note + clipped, caption + clipped, alt, n)
