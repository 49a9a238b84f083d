"""Share of the forecast inference time in kernels bound by arithmetic, bandwidth, launch or the last wave.

Forecasts: what bounds a kernel is not measured.
"""

import pandas as pd
from matplotlib.patches import Patch

from tilecast.evaluate.findings import mean_shares
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/predict/tilecast_breakdown.csv": "predict.breakdown"}
GROUP, TITLE, ORDER = "Predictors", "What bounds each model", 120

# Hues no predictor has; the hatch tells them apart without colour.
BOUNDS = {
    "compute": (naming.SPARE_COLOURS[1], ""),
    "bandwidth": (naming.SPARE_COLOURS[0], ""),
    "latency": (naming.SPARE_COLOURS[2], ""),
    "wave tail": ("#ffffff", "//////"),
}


def shares_of_cells(breakdown: pd.DataFrame) -> pd.DataFrame:
    """A row a cell: percent of its forecast time by what bounds the kernels."""
    whole = breakdown.pivot_table(
        index=["device", "model", "sequence_length", "batch_size"],
        columns="bound",
        values="latency_ms",
        aggfunc="sum",
        fill_value=0.0,
    )
    return 100 * whole.div(whole.sum(axis=1), axis=0)


def draw(breakdown: pd.DataFrame) -> style.Picture:
    """A panel a model, a bar a GPU: shares of the forecast time of inference by what bounds the kernels."""
    drawn = breakdown[(breakdown["option"] == "none") & (breakdown["mode"] == "inference")]
    if drawn.empty:
        return style.empty_panel(TITLE)
    shares = shares_of_cells(drawn)
    mean, overall = mean_shares(shares)
    models = naming.ordered(naming.MODELS, mean.index.get_level_values("model"))
    devices = naming.ordered(naming.DEVICES, mean.index.get_level_values("device"))
    kinds = naming.ordered(dict.fromkeys(BOUNDS, ""), mean.columns)
    figure, panels = style.grid(len(models), 2, 0.165 * len(devices) + 0.3, 0.35, sharex=True, sharey=True)
    for model, axes in zip(models, panels, strict=True):
        axes.set_title(naming.model_name(model), weight="bold", pad=2)
        axes.set_xlim(0, 100)
        style.rows(axes, [naming.device_name(name) for name in devices])
        mine = mean.xs(model, level="model")
        y = [devices.index(device) for device in mine.index]
        start = mine[kinds[0]] * 0
        for kind in kinds:
            axes.barh(y, mine[kind], left=start, height=0.78, **_look(kind))
            start = start + mine[kind]
    style.label_lowest(panels, 2, "Share of forecast time (%)")
    data = mean.reset_index().melt(["device", "model"], var_name="bound", value_name="share_percent")
    data = data.sort_values(["model", "device", "bound"], ignore_index=True)
    who = naming.predictor_name(str(drawn["predictor"].iloc[0]))
    keys = [Patch(label=kind, **_look(kind)) for kind in kinds]
    return style.finish(figure, data, _finding(mean, overall[kinds], len(shares), who), keys=keys, columns=4)


def _finding(mean: pd.DataFrame, overall: pd.Series, n: int, who: str) -> style.Finding:
    """What bounds most of the time, and where anything but arithmetic does most."""
    top = str(overall.idxmax())
    title = f"{who}: {top} bounds {overall[top]:.0f} % of inference"
    largest = mean.drop(columns="compute", errors="ignore").stack()
    if len(largest):
        device, model, kind = map(str, largest.index[int(largest.to_numpy().argmax())])
        title += (
            f"; {kind} most, {largest.max():.0f} %, in {naming.model_name(model)} on {naming.device_name(device)}"
        )
    note = (
        f"n = {n} plain inference cells, the mean over a model's batch sizes. Forecasts: what bounds a kernel is "
        "not measured. Wave tail: multiprocessors idle, or busy with padding, most of the time."
    )
    caption = (
        "Share of the forecast inference time in kernels bound by arithmetic, by memory bandwidth, by launch "
        f"latency and by the tail of the last wave; {n} plain cells, the mean over batch sizes. Forecasts of "
        f"{who}: what bounds a kernel is not measured."
    )
    words = style.listed((str(kind), value) for kind, value in overall.items())
    return style.Finding(title, note, caption, f"{title}. Mean over all cells: {words}.", n)


def _look(kind: str) -> style.Look:
    """How the bars of a bound are filled."""
    shade, hatch = BOUNDS.get(kind, (style.FAINT, ""))
    return {"facecolor": shade, "hatch": hatch, "edgecolor": style.INK, "linewidth": 0.4}
