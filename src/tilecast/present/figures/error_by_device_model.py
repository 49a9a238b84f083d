"""Absolute percentage error of end-to-end latency by NVIDIA device and model, plain cells.

Points are means over batch sizes, lines run from the least to the largest error; hollow points are the authors'
predictions, filled ones were computed by this workflow.
"""

import pandas as pd
from matplotlib.axes import Axes

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Error by device and model", 10

ROW_IN = 0.185


def group_errors(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean, least and largest error over the batch sizes of a device, model and mode, for every predictor."""
    groups = cells.groupby(["device", "model", "mode", "predictor"])["ape_percent"]
    return groups.agg(n="size", mean_percent="mean", least_percent="min", largest_percent="max").reset_index()


def draw(errors: pd.DataFrame) -> style.Picture:
    """Plain cells of NVIDIA GPUs: a point at the mean over batch sizes, a line from least to largest."""
    nvidia = errors["device"].map(naming.vendor) == "NVIDIA"
    cells = errors[nvidia & (errors["option"] == "none")]
    if cells.empty:
        return style.empty_panel(TITLE, "no plain NVIDIA cell has a prediction")
    drawn = group_errors(cells)
    predictors = naming.ordered(naming.PREDICTORS, drawn["predictor"])
    highest = max(200.0, float(drawn["largest_percent"].max()) * 1.6)
    parts = [
        drawn[(drawn["mode"] == mode) & (drawn["device"] == device)]
        for mode in naming.ordered(naming.MODES, drawn["mode"])
        for device in naming.ordered(naming.DEVICES, drawn["device"][drawn["mode"] == mode])
    ]
    rows = [part["model"].nunique() + 1.1 for part in parts]  # a panel's heading takes the room of a row
    half = next(k for k in range(1, len(rows) + 1) if sum(rows[:k]) >= sum(rows) / 2)
    tallest = max(sum(rows[:half]), sum(rows[half:]))

    figure = style.canvas(0.35 + ROW_IN * tallest)
    columns = figure.add_gridspec(1, 2)
    for place, some in enumerate((range(half), range(half, len(parts)))):
        spare = tallest - sum(rows[k] for k in some)
        heights = [rows[k] for k in some] + ([spare] if spare > 0 else [])
        lines = columns[place].subgridspec(len(heights), 1, height_ratios=heights)
        panels = [figure.add_subplot(lines[line]) for line in range(len(some))]
        for k, axes in zip(some, panels, strict=True):
            _panel(axes, parts[k], predictors, highest)
        style.label_lowest(panels, 1, "Absolute error (%)")
    return style.finish(figure, drawn, _finding(cells), predictors)


def _finding(cells: pd.DataFrame) -> style.Finding:
    """Which predictor errs least on average, and which most."""
    n = len(cells.drop_duplicates(style.CELL))
    means = mean_by(cells, "ape_percent")
    best, worst = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    title = (
        f"{naming.predictor_name(best)} is off by {style.percent(means[best])} on average, "
        f"{naming.predictor_name(worst)} by {style.percent(means[worst])}"
    )
    clipped = style.below_scale(cells["ape_percent"])
    note = f"n = {n} measured cells. Point: mean over batch sizes; line: least to largest. Hollow: authors'."
    caption = (
        f"Absolute percentage error of end-to-end latency by device and model: {n} plain cells on "
        f"{cells['device'].nunique()} NVIDIA GPUs, one logarithmic scale. Points are means over the batch sizes "
        "of a model, lines run from the least to the largest error. Devices and models without a label or "
        "without a prediction have no panel or point; AMD GPUs have a figure of their own."
    )
    alt = f"{title}. Mean error over {n} cells: {style.worded(means)}."
    return style.Finding(title, note + clipped, caption + clipped, alt, n)


def _panel(axes: Axes, part: pd.DataFrame, predictors: list[str], highest: float) -> None:
    """One device in one mode: a row a model, published predictors in its upper lane, ours in its lower one."""
    models = naming.ordered(naming.MODELS, part["model"])[::-1]
    style.percent_axis(axes.xaxis, highest=highest)
    style.rows(axes, [naming.model_name(model) for model in models], lines=True)
    axes.set_ylim(-0.6, len(models) - 0.4)  # the first on top
    axes.grid(axis="x")
    device = naming.device_name(str(part["device"].iloc[0]))
    axes.set_title(f"{device}, {part['mode'].iloc[0]}", pad=2, fontsize=style.MINOR_PT, weight="bold")
    both = len({naming.is_published(name) for name in predictors}) == 2
    for name in predictors:
        mine = part[part["predictor"] == name]
        lane = (0.19 if naming.is_published(name) else -0.19) if both else 0.0
        y = [models.index(model) + lane for model in mine["model"]]
        look = style.marks(name) | {"markersize": 3.8, "markeredgewidth": 0.9}
        mean, least, largest = (
            mine[f"{kind}_percent"].clip(style.CLIP_LOW_PERCENT) for kind in ("mean", "least", "largest")
        )
        axes.hlines(y, least, largest, color=look["color"], linewidth=0.9)
        axes.plot(mean, y, linestyle="none", **look)
