"""Share of the time that fusing kernels saves, measured and forecast, and the fused forecast's signed error."""

import pandas as pd

from tilecast.base.statistics import error_percent
from tilecast.evaluate.findings import mean_of
from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style, variants
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "Variants", "Fusion", 50


def pairs(errors: pd.DataFrame) -> pd.DataFrame:
    """Cells forecast with and without fusion: the share of time saved, and the fused forecast's signed error."""
    sides = [errors[errors["option"] == option].drop(columns="option") for option in ("none", "fusion")]
    both = sides[0].merge(sides[1], on=["predictor", *style.CELL], suffixes=("_plain", "_fused"))
    for kind in ("measured", "predicted"):
        both[f"{kind}_saving_percent"] = 100 * (1 - both[f"{kind}_ms_fused"] / both[f"{kind}_ms_plain"])
    both["signed_percent"] = error_percent(both["predicted_ms_fused"], both["measured_ms_fused"])
    return both


def draw(errors: pd.DataFrame) -> style.Picture:
    """Left the time fusion saves, measured (bar) and forecast (point); right the fused forecast's signed error."""
    both = pairs(style.compared(errors))
    if both.empty:
        return style.empty_panel(TITLE, "no cell has forecasts with and without fusion")
    predictors, devices, models = style.in_order(both, "predictor", "device", "model")
    found = both.drop_duplicates(style.CELL)[[*style.CELL, "measured_saving_percent"]].to_dict("records")
    found.sort(key=lambda row: (devices.index(row["device"]), models.index(row["model"]), row["batch_size"]))
    cells = pd.DataFrame(found)
    both = both.merge(cells[style.CELL].assign(row=range(len(cells))), on=style.CELL)
    rows = [
        f"{naming.device_name(row['device'])} {naming.model_name(row['model'])}, {row['batch_size']}"
        for row in found
    ]

    figure = style.canvas(0.235 * len(rows) + 0.7)
    left, right = figure.subplots(1, 2, sharey=True)
    variants.panel(right, rows, both, predictors, variants.reach(both["signed_percent"]))
    right.set_xlabel("Error of fused forecast (%)")
    bars = {"color": "#c8c8c8", "edgecolor": style.INK, "linewidth": 0.6}
    left.barh(range(len(cells)), cells["measured_saving_percent"], height=0.8, **bars)
    for name, shift in style.lanes(predictors):
        mine = both[both["predictor"] == name]
        left.plot(mine["predicted_saving_percent"], mine["row"] + shift, linestyle="none", **style.marks(name))
    left.axvline(0, color=style.MUTED, linewidth=0.6)
    left.set_xlabel("Time saved by fusion (%)")
    latencies = [f"{kind}_ms_{side}" for kind in ("measured", "predicted") for side in ("plain", "fused")]
    shares = ["measured_saving_percent", "predicted_saving_percent", "signed_percent"]
    data = both[["predictor", *style.CELL, *latencies, *shares]]
    return variants.finish(figure, data, _finding(both, cells, predictors), predictors)


def _finding(both: pd.DataFrame, cells: pd.DataFrame, predictors: list[str]) -> style.Finding:
    """Whose forecast of the saving comes nearest the measured one."""
    n = len(cells)
    measured = mean_of(cells["measured_saving_percent"])
    savings = mean_by(both, "predicted_saving_percent")
    mistakes = mean_by(both, "ape_percent_fused")
    missed = mean_by(
        both.assign(off=(both["predicted_saving_percent"] - both["measured_saving_percent"]).abs()), "off"
    )
    first = min(predictors, key=missed.__getitem__)
    title = (
        f"Fusion saves {style.percent(measured, 2)} on average; even the nearest forecast, "
        f"{naming.predictor_name(first)}, misses a cell's saving by {naming.significant(missed[first], 2)} points"
    )
    clipped = variants.beyond(both["signed_percent"])
    note = (
        f"n = {n} measured pairs of cells, fused and not; rows: device, model, batch. Bar and line: measured; "
        f"shaded: ±{variants.BAND_PERCENT} %."
    )
    caption = (
        f"Effect of kernel fusion on {n} cells measured with and without it. Left: share of time that fusion "
        "saves, measured (bar) and forecast (points). Right: signed error of the fused forecast; zero "
        "is the measured value."
    )
    alt = (
        f"{title}. Mean saving forecast: {style.worded(savings)}. "
        f"Mean error of the fused forecast: {style.worded(mistakes)}."
    )
    return style.Finding(title, note + clipped, caption + clipped, alt, n)
