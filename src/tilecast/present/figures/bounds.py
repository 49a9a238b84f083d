"""What bounds each model on each GPU, as one predictor sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/predict/tilecast_breakdown.csv": "predict.breakdown"}
GROUP = "Predictors"
TITLE = "What bounds each model"
ORDER = 120
CAPTION = (
    "Share of the forecast inference time in kernels bound by arithmetic, by memory bandwidth, by launch "
    "latency and by the tail of the last wave. Forecasts: what bounds a kernel is not measured."
)

# Hues no predictor has; the hatch tells them apart without colour.
BOUNDS: dict[str, tuple[str, str]] = {
    "compute": (naming.SPARE_COLOURS[1], ""),
    "bandwidth": (naming.SPARE_COLOURS[0], ""),
    "latency": (naming.SPARE_COLOURS[2], ""),
    "wave tail": ("#ffffff", "//////"),
}


def draw(breakdown: pd.DataFrame) -> style.Picture:
    """A panel a model, a bar a GPU: shares of the forecast time of inference by what bounds the kernels."""
    drawn = breakdown[(breakdown["option"] == "none") & (breakdown["mode"] == "inference")]
    if drawn.empty:
        return style.empty_panel("What bounds each model")
    cell = ["device", "model", "sequence_length", "batch_size"]
    whole = drawn.pivot_table(index=cell, columns="bound", values="latency_ms", aggfunc="sum", fill_value=0.0)
    shares = 100 * whole.div(whole.sum(axis=1), axis=0)
    mean = shares.groupby(["device", "model"]).mean()
    models = naming.ordered(naming.MODELS, mean.index.get_level_values("model"))
    devices = naming.ordered(naming.DEVICES, mean.index.get_level_values("device"))
    kinds = naming.ordered(dict.fromkeys(BOUNDS, ""), mean.columns)
    lines = -(-len(models) // 2)
    figure = style.canvas(lines * (0.165 * len(devices) + 0.3) + 0.35)
    panels = figure.subplots(lines, 2, squeeze=False, sharex=True, sharey=True)
    for place, axes in enumerate(panels.flatten()):
        if place >= len(models):
            axes.set_axis_off()
            continue
        axes.set_title(naming.model_name(models[place]), weight="bold", pad=2)
        axes.set(xlim=(0, 100), ylim=(len(devices) - 0.4, -0.6))
        axes.set_yticks(range(len(devices)), [naming.device_name(name) for name in devices])
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelbottom=place >= len(models) - 2)
        mine = mean.xs(models[place], level="model")
        y = [devices.index(device) for device in mine.index]
        start = mine[kinds[0]] * 0
        for kind in kinds:
            shade, hatch = BOUNDS.get(kind, (style.FAINT, ""))
            axes.barh(
                y,
                mine[kind],
                left=start,
                height=0.78,
                color=shade,
                hatch=hatch,
                edgecolor=style.INK,
                linewidth=0.4,
            )
            start = start + mine[kind]
        if place >= len(models) - 2:
            axes.set_xlabel("Share of forecast time (%)")

    who = naming.predictor_name(str(drawn["predictor"].iloc[0]))
    largest = mean.drop(columns="compute", errors="ignore").stack()
    overall = shares.mean()
    top = str(overall.idxmax())
    title = f"{who}: {top} bounds {overall[top]:.0f} % of inference"
    if len(largest):
        device, model, kind = map(str, largest.index[int(largest.to_numpy().argmax())])
        title += (
            f"; {kind} most, {largest.max():.0f} %, in {naming.model_name(model)} on {naming.device_name(device)}"
        )
    n = len(shares)
    keys = [
        Patch(
            facecolor=BOUNDS.get(kind, (style.FAINT, ""))[0],
            hatch=BOUNDS.get(kind, ("", ""))[1],
            edgecolor=style.INK,
            linewidth=0.4,
            label=kind,
        )
        for kind in kinds
    ]
    style.frame(
        figure,
        title,
        f"n = {n} plain inference cells, the mean over a model's batch sizes. Forecasts: what bounds a kernel is "
        "not measured. Wave tail: multiprocessors idle, or busy with padding, most of the time.",
        keys=keys,
        columns=4,
    )
    caption = (
        "Share of the forecast inference time in kernels bound by arithmetic, by memory bandwidth, by launch "
        f"latency and by the tail of the last wave; {n} plain cells, the mean over batch sizes. Forecasts of "
        f"{who}: what bounds a kernel is not measured."
    )
    worded = "; ".join(f"{kind} {naming.significant(overall[kind])} %" for kind in kinds)
    alt = f"{title}. Mean over all cells: {worded}."
    data = mean.reset_index().melt(["device", "model"], var_name="bound", value_name="share_percent")
    data = data.sort_values(["model", "device", "bound"], ignore_index=True)
    return style.Picture(figure, data, title, caption, alt, n)
