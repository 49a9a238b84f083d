"""Errors of four-GPU forecasts: data, tensor and pipeline parallel training."""

from __future__ import annotations

import pandas as pd

from tilecast.present.figures import style, variants
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP = "Variants"
TITLE = "Four GPUs"
ORDER = 60
CAPTION = "Signed error of the forecast training-step latency on four GPUs: data, tensor and pipeline parallelism."

STRATEGIES = [option for option in naming.OPTIONS if option not in ("none", "fusion")]
CELL = ["device", "model", "mode", "sequence_length", "batch_size", "option"]


def draw(errors: pd.DataFrame) -> style.Picture:
    """One panel a device, a row a measured cell with its latency, points at the forecasts' signed errors."""
    cells = variants.with_signed(errors[errors["option"].isin(STRATEGIES)])
    if cells.empty:
        return style.empty_panel("Four GPUs", "no four-GPU cell has a prediction")
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    devices = naming.ordered(naming.DEVICES, cells["device"])
    models = naming.ordered(naming.MODELS, cells["model"])
    limit = variants.reach(cells["signed_percent"])
    unique = cells.drop_duplicates(CELL)
    rows = {device: unique[unique["device"] == device] for device in devices}
    heights = [len(rows[device]) + 1 for device in devices]
    figure = style.canvas(0.26 * sum(heights) + 0.5)
    panels = figure.subplots(
        len(devices), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    ).flatten()
    for device, axes in zip(devices, panels, strict=True):
        keyed = sorted(
            rows[device].to_dict("records"),
            key=lambda row: (models.index(row["model"]), row["batch_size"], STRATEGIES.index(row["option"])),
        )
        mine = pd.DataFrame(keyed)[CELL].assign(row=range(len(keyed)))
        points = cells.merge(mine, on=CELL).assign(value=lambda frame: frame["signed_percent"])
        names = [
            f"{naming.model_name(row['model'])}, batch {row['batch_size']}, "
            f"{naming.OPTIONS_SHORT[row['option']]}: {naming.significant(row['measured_ms'], 4)} ms"
            for row in keyed
        ]
        variants.panel(axes, names, points, predictors, limit)
        axes.set_title(f"4 × {naming.device_name(device)}", fontsize=style.MINOR_PT, weight="bold", pad=2)
    panels[-1].set_xlabel("Signed error (%); 0: measured")

    n = len(unique)
    means = style.mean_by(cells, "ape_percent")
    best = min(means, key=means.__getitem__)
    worst = cells[cells["predictor"] == best].nlargest(1, "ape_percent").iloc[0]
    title = (
        f"On four GPUs {naming.predictor_name(best)} errs by {naming.significant(means[best])} % on average, "
        f"at most {naming.significant(worst['ape_percent'])} % ({naming.OPTIONS_SHORT[worst['option']]} on "
        f"{naming.device_name(worst['device'])})"
    )
    clipped = variants.beyond(cells["signed_percent"])
    style.frame(
        figure,
        title,
        f"n = {n} measured training cells; measured latency beside each. Shaded: ±{variants.BAND_PERCENT} %."
        + clipped,
        predictors,
        keys=[variants.key()],
        columns=4,
    )
    caption = (
        f"Signed error of the forecast training-step latency on four GPUs, {n} measured cells: data (DP4), tensor "
        "(TP4) and pipeline (PP4) parallelism, global batch size in each row. Zero is the measured value."
        + clipped
    )
    alt = f"{title}. Mean absolute errors: {style.worded(means)}."
    columns = ["predictor", *CELL, "measured_ms", "predicted_ms", "signed_percent"]
    return style.Picture(figure, cells[columns], title, caption, alt, n)
