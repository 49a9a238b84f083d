"""Mean absolute percentage error by operator class on NVIDIA GPUs, in and out of the training distribution.

Lines are bootstrap intervals of the mean.
"""

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/operator_errors.csv": "evaluation.operator_errors"}
GROUP, TITLE, ORDER = "Operators", "Error by operator class", 80


def draw(operators: pd.DataFrame) -> style.Picture:
    """A panel a distribution, a row a class: means on the shared error scale with their bootstrap intervals."""
    chosen = (
        (operators["device"] == "NVIDIA") & (operators["mode"] == "all") & (operators["distribution"] != "all")
    )
    drawn = style.compared(operators[chosen]).reset_index(drop=True)
    if drawn.empty:
        return style.empty_panel(TITLE)
    predictors = naming.ordered(naming.PREDICTORS, drawn["predictor"])
    classes = naming.ordered(naming.FAMILIES, drawn["operator_class"])
    sides = naming.ordered(naming.DISTRIBUTIONS, drawn["distribution"])
    figure = style.canvas(0.42 * len(classes) * len(sides) + 0.35 * len(sides) + 0.4)
    panels = figure.subplots(len(sides), 1, squeeze=False, sharex=True).flatten()
    highest = max(200.0, float(drawn[["mape_percent", "ci_high"]].max().max()) * 1.6)
    lowest = 1.0 if drawn["mape_percent"].min() > 1 else style.CLIP_LOW_PERCENT
    counts = drawn.groupby(["distribution", "operator_class"])["n"].max()
    for side, axes in zip(sides, panels, strict=True):
        part = drawn[drawn["distribution"] == side]
        style.percent_axis(axes.xaxis, lowest=lowest, highest=highest)
        names = [f"{naming.display(naming.FAMILIES, k)}, n = {counts.get((side, k), 0)}" for k in classes]
        style.rows(axes, names, margin=0.45, lines=True)
        axes.grid(axis="x")
        axes.set_title(naming.DISTRIBUTIONS[side].capitalize(), weight="bold", pad=2)
        for name, shift in style.lanes(predictors, 0.35):
            mine = part[part["predictor"] == name]
            y = [classes.index(kind) + shift for kind in mine["operator_class"]]
            look = style.marks(name)
            ends = mine["ci_low"].clip(lowest), mine["ci_high"].clip(lowest)
            axes.hlines(y, *ends, color=look["color"], linewidth=1)
            axes.plot(mine["mape_percent"].clip(lowest), y, linestyle="none", **look)
    panels[-1].set_xlabel("Mean absolute error (%)")
    columns = ["predictor", "operator_class", "distribution", "n", "mape_percent", "ci_low", "ci_high"]
    return style.finish(
        figure, drawn[columns], _finding(drawn, int(counts.sum()), predictors, classes), predictors
    )


def _finding(drawn: pd.DataFrame, n: int, predictors: list[str], classes: list[str]) -> style.Finding:
    """On how many operator classes the predictor that is most often the nearest is it, and its worst class."""
    values = {
        (str(side), str(kind)): part.set_index("predictor")["mape_percent"]
        for (side, kind), part in drawn.groupby(["distribution", "operator_class"])
    }
    nearest = {cell: str(errors.idxmin()) for cell, errors in values.items()}
    best = max(predictors, key=list(nearest.values()).count)
    mine = {cell: float(errors[best]) for cell, errors in values.items() if best in errors}
    side, kind = max(mine, key=mine.__getitem__)
    whose, sides = naming.predictor_name(best), naming.ordered(naming.DISTRIBUTIONS, drawn["distribution"])
    shares = ", ".join(
        f"{sum(who == best for cell, who in nearest.items() if cell[0] == part)} of "
        f"{sum(cell[0] == part for cell in nearest)} classes {naming.DISTRIBUTIONS[part]}"
        for part in sides
    )
    title = (
        f"{whose} errs least on {shares}; most on {naming.display(naming.FAMILIES, kind).lower()}, by "
        f"{style.percent(mine[side, kind])}"
    )
    caption = (
        "Mean absolute percentage error of the summed latency of an operator class within a cell, NVIDIA GPUs, "
        f"inference and training, in and out of the training distribution; {n} class totals. Lines are bootstrap "
        "intervals of the mean; the scale is logarithmic."
    )
    detail = style.listed(
        (f"{naming.display(naming.FAMILIES, kind)} {side}", mine[side, kind])
        for kind in classes
        for side in sides
        if (side, kind) in mine
    )
    return style.Finding(
        title,
        "n: cells with such operators. Line: bootstrap interval of the mean. Hollow: authors', filled: ours.",
        caption,
        f"{title}. {whose}, by class, in and out of distribution: {detail}.",
        n,
    )
