"""How the errors are distributed: for every error, the share of cells that stay under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.patheffects
import seaborn as sns

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP = "End to end"
TITLE = "Distribution of errors"
ORDER = 40
CAPTION = "Empirical cumulative distribution of the absolute percentage error over the plain cells on NVIDIA GPUs."

SIDES = {True: "Authors' predictions", False: "Computed here"}


def draw(errors: pd.DataFrame) -> style.Picture:
    """Empirical cumulative distributions over the plain NVIDIA cells, the authors' above, ours beneath."""
    cells = errors[(errors["device"].map(naming.vendor) == "NVIDIA") & (errors["option"] == "none")]
    if cells.empty:
        return style.empty_panel("Distribution of errors", "no plain NVIDIA cell has a prediction")
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    sides = [side for side in SIDES if any(naming.is_published(name) is side for name in predictors)]
    figure = style.canvas(2.5 * len(sides))
    panels = figure.subplots(len(sides), 1, squeeze=False, sharex=True).flatten()
    for side, axes in zip(sides, panels, strict=True):
        mine = [name for name in predictors if naming.is_published(name) is side]
        for place, name in enumerate(mine):
            values = cells["ape_percent"][cells["predictor"] == name]
            sns.ecdfplot(
                x=values.clip(style.CLIP_LOW_PERCENT),
                ax=axes,
                color=naming.colour(name),
                stat="percent",
                linewidth=1.6,
            )
            _label(axes, name, values, 100 * (place + 1) / (len(mine) + 1))
        style.percent_axis(axes.xaxis, highest=max(200.0, float(cells["ape_percent"].max()) * 1.6))
        axes.set(title=SIDES[side], ylabel="Share of cells (%)", ylim=(0, 102), xlabel="")
        axes.grid()
    panels[-1].set_xlabel("Absolute error (%)")

    keys = ["device", "model", "mode", "sequence_length", "batch_size"]
    n = len(cells.drop_duplicates(keys))
    groups = {str(name): values for name, values in cells.groupby("predictor")["ape_percent"]}
    medians = {name: float(values.median()) for name, values in groups.items()}
    p90 = {name: float(values.quantile(0.9)) for name, values in groups.items()}
    best = min(p90, key=p90.__getitem__)
    title = (
        f"Nine in ten cells stay under {naming.significant(p90[best])} % with {naming.predictor_name(best)}; "
        f"half stay under {naming.significant(medians[best])} %"
    )
    small = int((cells["ape_percent"] < style.CLIP_LOW_PERCENT).sum())
    clipped = (
        f" {small} of {len(cells)} errors below {style.CLIP_LOW_PERCENT} % are drawn at that edge."
        if small
        else ""
    )
    style.frame(figure, title, f"n = {n} measured cells: plain inference and training on NVIDIA GPUs.{clipped}")
    caption = (
        f"Empirical cumulative distribution of the absolute percentage error over {n} plain cells on NVIDIA GPUs, "
        f"inference and training; horizontal axis logarithmic.{clipped}"
    )
    alt = f"{title}. 90th percentiles: {style.worded(p90)}. Medians: {style.worded(medians)}."
    return style.Picture(figure, cells[["predictor", *keys, "ape_percent"]], title, caption, alt, n)


def _label(axes: Axes, name: str, values: pd.Series, share: float) -> None:
    """The predictor's name on its own line, at a height no other line of the panel uses."""
    x = float(values.clip(style.CLIP_LOW_PERCENT).quantile(share / 100))
    text = axes.annotate(
        naming.predictor_name(name).replace(" (authors)", "").replace(" (ours)", ""),
        (x, share),
        xytext=(5, -3),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=style.MINOR_PT,
        weight="bold",
        color=naming.colour(name),
    )
    text.set_path_effects([matplotlib.patheffects.withStroke(linewidth=2.5, foreground="white")])
