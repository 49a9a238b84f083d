"""Signed error of the forecast training-step latency on four GPUs: data, tensor and pipeline parallelism."""

import pandas as pd

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style, variants
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "Variants", "Four GPUs", 60

STRATEGIES = [option for option in naming.OPTIONS if option not in ("none", "fusion")]
CELL = [*style.CELL, "option"]


def draw(errors: pd.DataFrame) -> style.Picture:
    """One panel a device, a row a measured cell with its latency, points at the forecasts' signed errors."""
    cells = variants.with_signed(style.compared(errors[errors["option"].isin(STRATEGIES)]))
    if cells.empty:
        return style.empty_panel(TITLE, "no four-GPU cell has a prediction")
    predictors, devices, models = style.in_order(cells, "predictor", "device", "model")
    limit = variants.reach(cells["signed_percent"])
    found = cells.drop_duplicates(CELL).to_dict("records")
    found.sort(key=lambda row: (models.index(row["model"]), row["batch_size"], STRATEGIES.index(row["option"])))
    rows = {device: [row for row in found if row["device"] == device] for device in devices}
    heights = [len(rows[device]) + 1 for device in devices]
    figure = style.canvas(0.26 * sum(heights) + 0.5)
    panels = figure.subplots(len(devices), 1, squeeze=False, sharex=True, height_ratios=heights).flatten()
    for device, axes in zip(devices, panels, strict=True):
        keyed = pd.DataFrame(rows[device])[CELL].assign(row=range(len(rows[device])))
        names = [
            f"{naming.model_name(row['model'])}, batch {row['batch_size']}, "
            f"{naming.OPTIONS_SHORT[row['option']]}: {naming.significant(row['measured_ms'], 4)} ms"
            for row in rows[device]
        ]
        variants.panel(axes, names, cells.merge(keyed, on=CELL), predictors, limit)
        axes.set_title(f"4 × {naming.device_name(device)}", fontsize=style.MINOR_PT, weight="bold", pad=2)
    panels[-1].set_xlabel("Signed error (%); 0: measured")
    columns = ["predictor", *CELL, "measured_ms", "predicted_ms", "signed_percent"]
    return variants.finish(figure, cells[columns], _finding(cells, len(found)), predictors)


def _finding(cells: pd.DataFrame, n: int) -> style.Finding:
    """The mean and the largest error of the best predictor."""
    means = mean_by(cells, "ape_percent")
    best = min(means, key=means.__getitem__)
    worst = cells[cells["predictor"] == best].nlargest(1, "ape_percent").iloc[0]
    title = (
        f"On four GPUs {naming.predictor_name(best)} errs by {style.percent(means[best], 2)} on average, at most "
        f"{style.percent(worst['ape_percent'], 2)} ({naming.OPTIONS_SHORT[worst['option']]} on "
        f"{naming.device_name(worst['device'])})"
    )
    note = f"n = {n} measured training cells; measured latency beside each. Shaded: ±{variants.BAND_PERCENT} %."
    clipped = variants.beyond(cells["signed_percent"])
    caption = (
        f"Signed error of the forecast training-step latency on four GPUs, {n} measured cells: data (DP4), tensor "
        "(TP4) and pipeline (PP4) parallelism, global batch size in each row. Zero is the measured value. "
        "Every predictor here is composed by the artifact's rules and links; Tilecast has a model of its own for "
        "several GPUs, whose errors on these cells are among those of many GPUs."
    )
    alt = f"{title}. Mean absolute errors: {style.worded(means)}."
    return style.Finding(title, note + clipped, caption + clipped, alt, n)
