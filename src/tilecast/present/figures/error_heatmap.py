"""Mean error as a heat map, device by model, one panel a predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.colors import LogNorm

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/evaluation/errors.csv": "evaluation.errors"}
GROUP = "End to end"
TITLE = "Error heat map"
ORDER = 30
CAPTION = (
    "Mean absolute percentage error by device and model, plain cells, one panel a predictor. A dash means no "
    "label or no prediction."
)

LOW_PERCENT, HIGH_PERCENT = 1, 100  # ends of the colour scale; the cells' numbers go on beyond it
DARK_PERCENT = 15  # above it the field is dark and its number white
COLUMNS = 2


def draw(errors: pd.DataFrame) -> style.Picture:
    """Mean over the plain cells of a device and model, inference and training together, written in each field."""
    cells = errors[errors["option"] == "none"]
    if cells.empty:
        return style.empty_panel("Error by device and model", "no plain cell has a prediction")
    devices = naming.ordered(naming.DEVICES, cells["device"])
    models = naming.ordered(naming.MODELS, cells["model"])
    predictors = naming.ordered(naming.PREDICTORS, cells["predictor"])
    drawn = cells.groupby(["predictor", "device", "model"])["ape_percent"].agg(["mean", "size"]).reset_index()
    drawn.columns = ["predictor", "device", "model", "mape_percent", "n"]

    height = -(-len(predictors) // COLUMNS)
    figure = style.canvas((0.165 * len(devices) + 0.3) * height + 0.75)
    panels = figure.subplots(height, COLUMNS, squeeze=False, sharex=True, sharey=True).flatten()
    scale = LogNorm(LOW_PERCENT, HIGH_PERCENT)
    for name, axes in zip(predictors, panels, strict=False):
        mine = drawn[drawn["predictor"] == name].pivot(index="device", columns="model", values="mape_percent")
        mine = mine.reindex(index=devices, columns=models)
        values = mine.to_numpy(dtype=float)
        drawing = axes.pcolormesh(mine, norm=scale, cmap="YlOrBr", edgecolors="white", linewidth=0.6)
        for row in range(len(devices)):
            for column in range(len(models)):
                value = values[row, column]
                known = value == value
                dark = known and value > DARK_PERCENT
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    _short(value) if known else "–",
                    ha="center",
                    va="center",
                    color="white" if dark else style.INK if known else style.MUTED,
                    fontsize=6.5,
                )
        axes.spines[:].set_visible(False)
        axes.set(ylim=(len(devices), 0))
        axes.set_yticks(
            [k + 0.5 for k in range(len(devices))], [naming.device_name(d) for d in devices], rotation=0
        )
        axes.set_xticks(
            [k + 0.5 for k in range(len(models))],
            [naming.model_name(model) for model in models],
            rotation=40,
            ha="right",
            rotation_mode="anchor",
        )
        axes.tick_params(length=0, labelsize=style.MINOR_PT - 1)
        axes.set_title(naming.predictor_name(name), fontsize=style.MINOR_PT, pad=2, weight="bold")
    for place, axes in enumerate(panels):
        if place >= len(predictors):
            axes.set_axis_off()
        elif place + COLUMNS >= len(predictors):
            axes.tick_params(labelbottom=True)
    bar = figure.colorbar(
        drawing,
        ax=panels.tolist(),
        location="bottom",
        aspect=45,
        pad=0.02,
        extend="both",
        label="Mean absolute error (%)",
    )
    bar.ax.minorticks_off()
    bar.set_ticks([1, 3, 10, 30, 100], labels=["1", "3", "10", "30", "100"])

    keys = ["device", "model", "mode", "sequence_length", "batch_size"]
    n = len(cells.drop_duplicates(keys))
    under = drawn.assign(good=drawn["mape_percent"] < 10).groupby("predictor")["good"].agg(["sum", "size"])
    best = max(predictors, key=lambda name: under["sum"][name] / under["size"][name])
    title = (
        f"{naming.predictor_name(best)} stays under 10 % in {under['sum'][best]} of {under['size'][best]} "
        "pairs of device and model"
    )
    style.frame(
        figure,
        title,
        f"n = {n} measured cells, inference and training together. – : no label or no prediction. Colours end at "
        f"{LOW_PERCENT} and {HIGH_PERCENT} %; the numbers do not.",
    )
    caption = (
        f"Mean absolute percentage error by device and model over {n} plain cells, inference and training "
        f"together, one panel a predictor. Numbers are percent; the logarithmic colours end at {LOW_PERCENT} "
        f"and {HIGH_PERCENT} %, larger and smaller errors keep its end colours. A dash means no label or no "
        "prediction."
    )
    shares = "; ".join(
        f"{naming.predictor_name(name)} {under['sum'][name]} of {under['size'][name]}" for name in predictors
    )
    return style.Picture(figure, drawn, title, caption, f"{title}. Pairs under 10 %: {shares}.", n)


def _short(value: float) -> str:
    """Two significant digits, or whole percent from 10 on: what fits a field."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
