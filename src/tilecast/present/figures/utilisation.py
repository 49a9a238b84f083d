"""Share of a GPU's peak rate that matrix products reach as they grow: measured, and forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.ticker
from matplotlib.lines import Line2D

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/evaluation/utilisation.csv": "evaluation.utilisation"}
GROUP = "Predictors"
TITLE = "Utilisation over size"
ORDER = 130
CAPTION = (
    "Share of the peak fp32 rate reached by matrix products over a sweep of one dimension, measured and "
    "forecast, on a GPU of the training set and on a held-out one."
)

DRAWN = ("roofline", "neusight", "tilecast")
SIZES = {"m": "rows m", "b": "batch b"}


def draw(utilisation: pd.DataFrame) -> style.Picture:
    """A row of panels a family, a column a GPU; measured points, a line a predictor over a sweep of sizes."""
    drawn = utilisation[utilisation["source"].isin(("measured", *DRAWN))].reset_index(drop=True)
    if drawn.empty:
        return style.empty_panel("Utilisation")
    predictors = naming.ordered(naming.PREDICTORS, set(drawn["source"]) - {"measured"})
    families = naming.ordered(naming.FAMILIES, drawn["family"])
    devices = naming.ordered(naming.DEVICES, drawn["device"])
    figure = style.canvas(1.75 * len(families))
    panels = figure.subplots(len(families), len(devices), squeeze=False, sharey=True, sharex="row")
    highest = max(105.0, min(160.0, float(drawn["share_percent"].max()) * 1.04))
    for line, family in enumerate(families):
        for column, device in enumerate(devices):
            axes = panels[line, column]
            part = drawn[(drawn["family"] == family) & (drawn["device"] == device)].sort_values("size")
            axes.set(ylim=(0, highest))
            axes.set_yticks([0, 25, 50, 75, 100])
            axes.grid(axis="y")
            if part.empty:
                axes.text(0.5, 0.5, "not measured", ha="center", color=style.MUTED, transform=axes.transAxes)
                continue
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(base=8))
            axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
            for name in predictors:
                mine = part[part["source"] == name]
                axes.plot(mine["size"], mine["share_percent"], linewidth=1.2, color=naming.colour(name))
            found = part[part["source"] == "measured"]
            axes.plot(
                found["size"],
                found["share_percent"],
                linestyle="none",
                marker="o",
                markersize=3.2,
                color=style.INK,
                zorder=5,
            )
            label = f"{naming.device_name(device)} ({part['gpu'].iloc[0]}), n = {len(found)}"
            axes.set_title(label, pad=2, fontsize=style.MINOR_PT)
            swept = str(part["swept"].iloc[0])
            axes.set_xlabel(f"{naming.display(naming.FAMILIES, family)}: {SIZES.get(swept, swept)}", fontsize=8)
    figure.supylabel("Share of peak FLOP/s (%)", fontsize=9)

    both = drawn[drawn["source"] != "measured"].merge(
        drawn[drawn["source"] == "measured"], on=["device", "family", "size"], suffixes=("", "_measured")
    )
    both["error"] = 100 * (both["latency_ms"] / both["latency_ms_measured"] - 1).abs()
    held = both[both["gpu"] == "held out"]
    judged = held if len(held) else both
    where = " and ".join(naming.device_name(name) for name in naming.ordered(naming.DEVICES, judged["device"]))
    means = judged.groupby(["family", "source"])["error"].mean()
    nearest = {
        naming.display(naming.FAMILIES, family).lower(): min(means[family].items(), key=lambda pair: pair[::-1])
        for family in families
        if family in means
    }
    parts = [
        f"{naming.predictor_name(str(name))} on {family} ({naming.significant(error)} % off)"
        for family, (name, error) in nearest.items()
    ]
    title = f"Nearest to the measurements on {where}{', held out' if len(held) else ''}: {', '.join(parts)}"
    n = int((drawn["source"] == "measured").sum())
    keys = [
        Line2D([], [], linestyle="none", marker="o", markersize=3.2, color=style.INK, label="measured"),
        *(Line2D([], [], color=naming.colour(name), label=naming.predictor_name(name)) for name in predictors),
    ]
    style.frame(
        figure,
        title,
        f"n = {n} measured kernels, fp32, none of them trained on. Linear: 1,024 inputs and outputs; batched: "
        "512 × 512 × 64, one matrix a head and sequence.",
        keys=keys,
        columns=4,
    )
    caption = (
        "Share of the peak fp32 rate reached by matrix products of BERT-Large's shapes over a sweep of one "
        f"dimension: {n} measured kernels (points) on a GPU of the training set and on a held-out one, and "
        "forecasts (lines) at the measured sizes and between. Launch counts as the measuring harness counts it."
    )
    detail = "; ".join(
        f"{naming.display(naming.FAMILIES, family)}: {style.worded(means[family].to_dict())}"
        for family in families
        if family in means
    )
    alt = f"{title}. Mean errors on {where}: {detail}."
    return style.Picture(figure, drawn, title, caption, alt, n)
