"""Mean error by operator class, in and out of the training distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/evaluation/operator_errors.csv": "evaluation.operator_errors"}
GROUP = "Operators"
TITLE = "Error by operator class"
ORDER = 80
CAPTION = (
    "Mean absolute percentage error by operator class on NVIDIA GPUs, in and out of the training distribution. "
    "Lines are bootstrap intervals of the mean."
)


def draw(operators: pd.DataFrame) -> style.Picture:
    """A panel a distribution, a row a class: means on the shared error scale with their bootstrap intervals."""
    drawn = operators[
        (operators["device"] == "NVIDIA") & (operators["mode"] == "all") & (operators["distribution"] != "all")
    ].reset_index(drop=True)
    if drawn.empty:
        return style.empty_panel("Errors by operator class")
    predictors = naming.ordered(naming.PREDICTORS, drawn["predictor"])
    classes = naming.ordered(naming.FAMILIES, drawn["operator_class"])
    sides = naming.ordered(naming.DISTRIBUTIONS, drawn["distribution"])
    figure = style.canvas(0.42 * len(classes) * len(sides) + 0.35 * len(sides) + 0.4)
    panels = figure.subplots(len(sides), 1, squeeze=False, sharex=True).flatten()
    highest = max(200.0, float(drawn[["mape_percent", "ci_high"]].max().max()) * 1.6)
    lowest = 1.0 if drawn["mape_percent"].min() > 1 else style.CLIP_LOW_PERCENT
    for side, axes in zip(sides, panels, strict=True):
        part = drawn[drawn["distribution"] == side]
        style.percent_axis(axes.xaxis, lowest=lowest, highest=highest)
        axes.set_ylim(len(classes) - 0.45, -0.55)
        counts = part.groupby("operator_class")["n"].max()
        names = [f"{naming.display(naming.FAMILIES, k)}, n = {counts.get(k, 0)}" for k in classes]
        axes.set_yticks(range(len(classes)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_title(naming.DISTRIBUTIONS[side].capitalize(), weight="bold", pad=2)
        for place in range(1, len(classes)):
            axes.axhline(place - 0.5, color=style.FAINT, linewidth=0.5)
        for lane, name in enumerate(predictors):
            mine = part[part["predictor"] == name]
            shift = 0.0 if len(predictors) == 1 else 0.7 * lane / (len(predictors) - 1) - 0.35
            y = [classes.index(kind) + shift for kind in mine["operator_class"]]
            look = style.marks(name)
            ends = mine["ci_low"].clip(lowest), mine["ci_high"].clip(lowest)
            axes.hlines(y, *ends, color=look["color"], linewidth=1)
            axes.plot(mine["mape_percent"].clip(lowest), y, linestyle="none", **look)
    panels[-1].set_xlabel("Mean absolute error (%)")

    n = int(drawn.groupby(["operator_class", "distribution"])["n"].max().sum())
    first = "neusight_published" if "neusight_published" in predictors else predictors[0]
    whose, values = naming.predictor_name(first), _means(drawn, first)
    pairs = [kind for kind in classes if values.get((kind, "in"), 0) > 0 and (kind, "out") in values]
    title = f"{whose}: errors by operator class"
    if pairs:
        worst = max(pairs, key=lambda kind: values[kind, "out"] / values[kind, "in"])
        title = (
            f"Out of distribution the error of {whose} grows most on "
            f"{naming.display(naming.FAMILIES, worst).lower()}: {naming.significant(values[worst, 'in'])} % to "
            f"{naming.significant(values[worst, 'out'])} %"
        )
    style.frame(
        figure,
        title,
        "n: cells with such operators. Line: bootstrap interval of the mean. Hollow: authors', filled: ours.",
        predictors,
    )
    caption = (
        "Mean absolute percentage error of the summed latency of an operator class within a cell, NVIDIA GPUs, "
        f"inference and training, in and out of the training distribution; {n} class totals. Lines are bootstrap "
        "intervals of the mean; the scale is logarithmic."
    )
    detail = "; ".join(
        f"{naming.display(naming.FAMILIES, kind)} {side} {naming.significant(values[kind, side])} %"
        for kind in classes
        for side in sides
        if (kind, side) in values
    )
    alt = f"{title}. {whose}, by class, in and out of distribution: {detail}."
    columns = ["predictor", "operator_class", "distribution", "n", "mape_percent", "ci_low", "ci_high"]
    return style.Picture(figure, drawn[columns], title, caption, alt, n)


def _means(drawn: pd.DataFrame, predictor: str) -> dict[tuple[str, str], float]:
    """Mean error of a predictor by operator class and distribution."""
    mine = drawn[drawn["predictor"] == predictor]
    return dict(zip(zip(mine["operator_class"], mine["distribution"]), mine["mape_percent"]))
