"""Serving: time per output token and to the first token, forecast against measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilecast.hardware.device import devices
from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/modern/serving.csv": None}
GROUP = "Modern GPUs"
TITLE = "Serving"
ORDER = 170
CAPTION = "Serving times of dense models, forecast with the GPU's generation left out, against measured ones."

MARKERS = ("o", "s", "^", "D")
COLOURS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")


def draw(serving: pd.DataFrame) -> style.Picture:
    """Dense models with the GPU's generation left out: a panel each time, a mark a GPU; the diagonal is exact."""
    points = serving[serving["left_out"].astype(bool) & (serving["kind"] == "dense")] if len(serving) else serving
    if points.empty:
        return style.empty_panel("Serving", "the wheel of serving points was not fetched")
    from matplotlib.lines import Line2D

    names = sorted(points["device"].unique())
    every = devices()
    figure = style.canvas(2.4)
    panels = figure.subplots(1, 2)
    medians = {}
    for axes, what, label in zip(panels, ("tpot", "ttft"), ("Output token", "First token"), strict=True):
        x, y = points[f"measured_{what}_ms"], points[f"{what}_ms"]
        medians[what] = float(100 * (y / x - 1).abs().median())
        low, high = float(min(x.min(), y.min())) * 0.8, float(np.quantile(np.maximum(x, y), 0.995)) * 1.3
        for place, name in enumerate(names):
            mine = points["device"] == name
            look = {"color": COLOURS[place], "markersize": 2, "markeredgewidth": 0, "alpha": 0.6}
            axes.plot(x[mine], y[mine], MARKERS[place], rasterized=True, **look)
        axes.plot([low, high], [low, high], color=style.INK, linewidth=0.8)
        for factor in (0.8, 1.25):
            axes.plot([low, high], [low * factor, high * factor], color=style.MUTED, linewidth=0.5, linestyle=":")
        style.plain_log(axes.xaxis)
        style.plain_log(axes.yaxis)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_title(
            f"{label}: median error {naming.significant(medians[what], 2)} %", fontsize=style.MINOR_PT, pad=2
        )
        axes.set_xlabel("Measured (ms)")
        axes.set_ylabel("Forecast (ms)")
    title = (
        "Serving on a generation nobody measured: half the forecasts lie within "
        f"{naming.significant(medians['tpot'], 2)} % per output token, "
        f"{naming.significant(medians['ttft'], 2)} % to the first token"
    )
    keys = [
        Line2D(
            [], [], linestyle="none", marker=MARKERS[i], color=COLOURS[i], label=every[name].short, markersize=4
        )
        for i, name in enumerate(names)
    ]
    n = len(points)
    outside = int((points["measured_ttft_ms"] > np.quantile(points["measured_ttft_ms"], 0.995)).sum())
    style.frame(
        figure,
        title,
        f"n = {n:,} measured serving points of dense models; none was used to fit anything. Line: exact; dotted: "
        f"±25 %. The {outside} slowest first tokens may lie outside their panel.",
        keys=keys,
        columns=4,
    )
    caption = (
        f"Serving points of dense models ({n:,}) as measured and as forecast from kernels, collectives and a "
        "replayed benchmark, the GPU's generation left out; nothing was fitted to serving points."
    )
    data = points[
        ["point", "device", "model", "framework", "measured_tpot_ms", "tpot_ms", "measured_ttft_ms", "ttft_ms"]
    ]
    return style.Picture(figure, data, title, caption, f"{title}.", n)
