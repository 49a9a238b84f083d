"""Mean absolute percentage error by device and model, plain cells, one panel a predictor.

A dash means no label or no prediction.
"""

import pandas as pd
from matplotlib.colors import LogNorm

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP, TITLE, ORDER = "End to end", "Error heat map", 30

LOW_PERCENT, HIGH_PERCENT = 1, 100  # ends of the colour scale; the cells' numbers go on beyond it
DARK_PERCENT = 15  # above it the field is dark and its number white
GOOD_PERCENT = 10
COLUMNS = 2


def mean_errors(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean error over the plain cells of a device and model, for every predictor."""
    groups = cells.groupby(["predictor", "device", "model"])["ape_percent"]
    return groups.agg(mape_percent="mean", n="size").reset_index()


def draw(errors: pd.DataFrame) -> style.Picture:
    """Mean over the plain cells of a device and model, inference and training together, written in each field."""
    cells = errors[errors["option"] == "none"]
    if cells.empty:
        return style.empty_panel(TITLE, "no plain cell has a prediction")
    devices, models, predictors = style.in_order(cells, "device", "model", "predictor")
    drawn = mean_errors(cells)

    height = 0.165 * len(devices) + 0.3
    figure, panels = style.grid(len(predictors), COLUMNS, height, 0.75, sharex=True, sharey=True)
    scale = LogNorm(LOW_PERCENT, HIGH_PERCENT)
    for name, axes in zip(predictors, panels, strict=True):
        mine = drawn[drawn["predictor"] == name].pivot(index="device", columns="model", values="mape_percent")
        mine = mine.reindex(index=devices, columns=models)
        drawing = axes.pcolormesh(mine, norm=scale, cmap="YlOrBr", edgecolors="white", linewidth=0.6)
        for row, values in enumerate(mine.to_numpy(dtype=float)):
            for column, value in enumerate(values):
                known = value == value
                shade = "white" if value > DARK_PERCENT else style.INK if known else style.MUTED
                words = _short(value) if known else "–"
                axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", color=shade, fontsize=6.5)
        axes.spines[:].set_visible(False)
        axes.set(ylim=(len(devices), 0))
        axes.set_yticks([k + 0.5 for k in range(len(devices))], [naming.device_name(d) for d in devices])
        slanted: style.Look = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks([k + 0.5 for k in range(len(models))], [naming.model_name(m) for m in models], **slanted)
        axes.tick_params(length=0, labelsize=style.MINOR_PT - 1)
        axes.set_title(naming.predictor_name(name), fontsize=style.MINOR_PT, pad=2, weight="bold")
    style.label_lowest(panels, COLUMNS, "")
    bar = figure.colorbar(drawing, ax=figure.axes, location="bottom", aspect=45, pad=0.02, extend="both")
    bar.set_label("Mean absolute error (%)")
    bar.ax.minorticks_off()
    bar.set_ticks([1, 3, 10, 30, 100], labels=["1", "3", "10", "30", "100"])
    return style.finish(figure, drawn, _finding(len(cells.drop_duplicates(style.CELL)), drawn, predictors))


def _finding(n: int, drawn: pd.DataFrame, predictors: list[str]) -> style.Finding:
    """Who has the largest share of fields with an error below GOOD_PERCENT."""
    fields = drawn["predictor"].value_counts()
    good = drawn["predictor"][drawn["mape_percent"] < GOOD_PERCENT].value_counts()
    shares = {name: (int(good.get(name, 0)), int(fields[name])) for name in predictors}
    best = max(predictors, key=lambda name: shares[name][0] / shares[name][1])
    title = (
        f"{naming.predictor_name(best)} stays under {GOOD_PERCENT} % in {shares[best][0]} of {shares[best][1]} "
        "pairs of device and model"
    )
    note = (
        f"n = {n} measured cells, inference and training together. – : no label or no prediction. Colours end at "
        f"{LOW_PERCENT} and {HIGH_PERCENT} %; the numbers do not."
    )
    caption = (
        f"Mean absolute percentage error by device and model over {n} plain cells, inference and training "
        f"together, one panel a predictor. Numbers are percent; the logarithmic colours end at {LOW_PERCENT} "
        f"and {HIGH_PERCENT} %, larger and smaller errors keep its end colours. A dash means no label or no "
        "prediction."
    )
    words = "; ".join(f"{naming.predictor_name(name)} {few} of {most}" for name, (few, most) in shares.items())
    return style.Finding(title, note, caption, f"{title}. Pairs under {GOOD_PERCENT} %: {words}.", n)


def _short(value: float) -> str:
    """Two significant digits, or whole percent from 10 on: what fits a field."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
