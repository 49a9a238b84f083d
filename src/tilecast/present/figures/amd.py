"""Signed error of the forecast end-to-end latency on AMD GPUs, plain cells."""

import pandas as pd

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style, variants
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "Variants", "AMD GPUs", 70


def draw(errors: pd.DataFrame) -> style.Picture:
    """A row a device and model, a point a batch size, at the signed error of the plain forecast."""
    amd = errors["device"].map(naming.vendor) == "AMD"
    cells = variants.with_signed(errors[amd & (errors["option"] == "none")])
    if cells.empty:
        return style.empty_panel(TITLE, "no plain AMD cell has a prediction")
    predictors, devices, modes = style.in_order(cells, "predictor", "device", "mode")
    limit = variants.reach(cells["signed_percent"])
    models = {d: naming.ordered(naming.MODELS, cells["model"][cells["device"] == d]) for d in devices}
    heights = [len(models[device]) + 1 for device in devices]
    figure = style.canvas(0.235 * sum(heights) + 0.5)
    panels = figure.subplots(len(devices), len(modes), squeeze=False, sharex=True, height_ratios=heights)
    for device, line in zip(devices, panels, strict=True):
        names = [naming.model_name(model) for model in models[device]]
        for mode, axes in zip(modes, line, strict=True):
            mine = cells[(cells["device"] == device) & (cells["mode"] == mode)]
            points = mine.assign(row=mine["model"].map(models[device].index))
            variants.panel(axes, names, points, predictors, limit)
            for row in set(range(len(names))) - set(points["row"]):
                look = {"fontsize": style.MINOR_PT - 1, "color": style.MUTED, "backgroundcolor": "#f0f0f0"}
                axes.text(0, row, "no label", ha="center", va="center", **look)
            axes.set_title(f"{naming.device_name(device)}, {mode}", fontsize=style.MINOR_PT, weight="bold", pad=2)
            if axes is not line[0]:
                axes.tick_params(labelleft=False)
    for axes in panels[-1]:
        axes.set_xlabel("Signed error (%); 0: measured")
    columns = ["predictor", *style.CELL, "measured_ms", "predicted_ms", "signed_percent"]
    return variants.finish(figure, cells[columns], _finding(cells, modes), predictors)


def _finding(cells: pd.DataFrame, modes: list[str]) -> style.Finding:
    """How far off the best predictor is in each mode."""
    n = len(cells.drop_duplicates(style.CELL))
    means = mean_by(cells, "ape_percent")
    best = min(means, key=means.__getitem__)
    by_mode = mean_by(cells[cells["predictor"] == best], "ape_percent", "mode")
    parts = " and ".join(f"{style.percent(by_mode[mode])} in {mode}" for mode in modes if mode in by_mode)
    title = f"On AMD GPUs {naming.predictor_name(best)} errs by {parts}"
    clipped = variants.beyond(cells["signed_percent"])
    return style.Finding(
        title,
        f"n = {n} measured cells, a point each. Shaded: ±{variants.BAND_PERCENT} %." + clipped,
        f"Signed error of the forecast end-to-end latency on AMD GPUs, {n} measured plain cells, a point a batch "
        "size. Zero is the measured value." + clipped,
        f"{title}. Mean absolute errors: {style.worded(means)}.",
        n,
    )
