"""What fusing kernels saves, measured and predicted, and the error of the fused forecast."""

from __future__ import annotations

import pandas as pd

from tilecast.present.figures import style, variants
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP = "Variants"
TITLE = "Fusion"
ORDER = 50
CAPTION = (
    "Share of the time that fusing kernels saves, measured and forecast, and the signed error of the fused "
    "forecast."
)

CELL = ["device", "model", "mode", "sequence_length", "batch_size"]


def draw(errors: pd.DataFrame) -> style.Picture:
    """Left the time fusion saves, measured (bar) and forecast (point); right the fused forecast's signed error."""
    sides = [errors[errors["option"] == option].drop(columns="option") for option in ("none", "fusion")]
    both = sides[0].merge(sides[1], on=["predictor", *CELL], suffixes=("_plain", "_fused"))
    if both.empty:
        return style.empty_panel("Fusion", "no cell has forecasts with and without fusion")
    for kind in ("measured", "predicted"):
        both[f"{kind}_saving_percent"] = 100 * (1 - both[f"{kind}_ms_fused"] / both[f"{kind}_ms_plain"])
    both["signed_percent"] = 100 * (both["predicted_ms_fused"] / both["measured_ms_fused"] - 1)
    predictors = naming.ordered(naming.PREDICTORS, both["predictor"])
    devices = naming.ordered(naming.DEVICES, both["device"])
    models = naming.ordered(naming.MODELS, both["model"])
    found = both.drop_duplicates(CELL)[[*CELL, "measured_saving_percent"]].to_dict("records")
    found.sort(key=lambda row: (devices.index(row["device"]), models.index(row["model"]), row["batch_size"]))
    cells = pd.DataFrame(found)
    both = both.merge(cells[CELL].assign(row=range(len(cells))), on=CELL)
    rows = [
        f"{naming.device_name(row['device'])} {naming.model_name(row['model'])}, {row['batch_size']}"
        for row in found
    ]

    figure = style.canvas(0.235 * len(rows) + 0.7)
    left, right = figure.subplots(1, 2, sharey=True)
    limit = variants.reach(both["signed_percent"])
    variants.panel(right, rows, both.assign(value=both["signed_percent"]), predictors, limit)
    right.set_xlabel("Error of fused forecast (%)")
    bars = {"color": "#c8c8c8", "edgecolor": style.INK, "linewidth": 0.6}
    left.barh(range(len(cells)), cells["measured_saving_percent"], height=0.8, **bars)
    for lane, name in enumerate(predictors):
        mine = both[both["predictor"] == name]
        shift = 0.0 if len(predictors) == 1 else 0.5 * lane / (len(predictors) - 1) - 0.25
        left.plot(mine["predicted_saving_percent"], mine["row"] + shift, linestyle="none", **style.marks(name))
    left.axvline(0, color=style.MUTED, linewidth=0.6)
    left.set_xlabel("Time saved by fusion (%)")

    n = len(cells)
    savings = style.mean_by(both, "predicted_saving_percent")
    mistakes = style.mean_by(both, "ape_percent_fused")
    measured = float(cells["measured_saving_percent"].mean())
    first = min(predictors, key=lambda name: abs(savings[name] - measured))
    title = (
        f"Fusion saves {naming.significant(measured)} % on average; {naming.predictor_name(first)} comes nearest, "
        f"forecasting {naming.significant(savings[first])} %"
    )
    style.frame(
        figure,
        title,
        f"n = {n} measured pairs of cells, fused and not; rows: device, model, batch. Bar and line: measured; "
        f"shaded: ±{variants.BAND_PERCENT} %." + variants.beyond(both["signed_percent"]),
        predictors,
        keys=[variants.key()],
        columns=4,
    )
    caption = (
        f"Effect of kernel fusion on {n} cells measured with and without it. Left: share of time that fusion "
        "saves, measured (bar) and forecast (points). Right: signed error of the fused forecast; zero "
        "is the measured value." + variants.beyond(both["signed_percent"])
    )
    alt = (
        f"{title}. Mean saving forecast: {style.worded(savings)}. "
        f"Mean error of the fused forecast: {style.worded(mistakes)}."
    )
    columns = [
        "predictor", *CELL, "measured_ms_plain", "measured_ms_fused", "predicted_ms_plain", "predicted_ms_fused",
        "measured_saving_percent", "predicted_saving_percent", "signed_percent",
    ]  # fmt: skip
    return style.Picture(figure, both[columns], title, caption, alt, n)
