"""Forecasts written down before measuring, against what was then measured.

Measured on the machine at hand (live) or kept from earlier runs (replayed).
"""

import numpy as np
import pandas as pd

from tilecast.evaluate.findings import log_ratios, spreads
from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style
from tilecast.tables import naming
from tilecast.tables.declared.measured import KERNEL_KEY

TABLES = {"results/measure/kernels.csv": "measured.live_kernels"}
GROUP, TITLE, ORDER = "This machine", "Forecast before, measured after", 240

KEY = ["where", "device"]


def draw(kernels: pd.DataFrame) -> style.Picture:
    """A row a device: left each kernel, forecast against measured; right forecast over measured by family."""
    if kernels.empty:
        return style.empty_panel(TITLE, "nothing was forecast and then measured here")
    predictors = naming.ordered(naming.PREDICTORS, kernels["predictor"])
    parts = list(kernels.groupby(KEY, sort=False))
    families = naming.ordered(naming.FAMILIES, kernels["family"])
    figure = style.canvas((0.24 * len(families) + 1.1) * len(parts))
    panels = figure.subplots(len(parts), 2, squeeze=False, width_ratios=(1.15, 1))
    logs, reach = log_ratios(kernels)
    for (left, right), ((where, device), part) in zip(panels, parts, strict=True):
        both = part[["measured_ms", "predicted_ms"]]
        ends = [both.min().min() / 1.6, both.max().max() * 1.6]
        left.plot(ends, ends, color=style.MUTED, linewidth=0.8)
        band = [end / 1.2 for end in ends], [end * 1.2 for end in ends]
        left.fill_between(ends, *band, color="#eeeeee", zorder=0)
        for axis in (left.xaxis, left.yaxis, right.xaxis):
            style.plain_log(axis)
        left.set(xlim=ends, ylim=ends, xlabel="Measured (ms)", ylabel="Forecast before (ms)")
        left.set_title(f"{naming.device_name(str(device))} ({where})", fontsize=style.MINOR_PT)
        right.set(xlim=(1 / reach, reach), xlabel="Forecast ÷ measured")
        style.rows(right, [naming.display(naming.FAMILIES, name) for name in families], margin=0.5)
        right.axvline(1, color=style.MUTED, linewidth=0.8)
        right.axvspan(1 / 1.2, 1.2, color="#eeeeee", zorder=0)
        ratios = spreads(logs, part)
        for lane, name in enumerate(predictors):
            mine, look = part[part["predictor"] == name], style.marks(name)
            small = look | {"markersize": 3.2, "alpha": 0.75}
            left.plot(mine["measured_ms"], mine["predicted_ms"], linestyle="none", **small)
            shift = 0.3 * (lane - (len(predictors) - 1) / 2)
            for place, family in enumerate(families):
                if (family, name) in ratios:
                    low, middle, high = np.clip(ratios[family, name], 1 / reach, reach)
                    right.hlines(place + shift, low, high, color=look["color"], linewidth=1.1)
                    right.plot(middle, place + shift, linestyle="none", clip_on=False, **look)
    columns = [*KEY, "predictor", *KERNEL_KEY, "predicted_ms", "measured_ms", "ape_percent"]
    return style.finish(figure, kernels[columns], _finding(kernels, predictors[-1], len(parts)), predictors)


def _finding(kernels: pd.DataFrame, first: str, devices: int) -> style.Finding:
    """The mean error of the last predictor."""
    errors = mean_by(kernels, "ape_percent")
    n = len(kernels[[*KEY, *KERNEL_KEY]].drop_duplicates())
    title = (
        f"Before measuring, {naming.predictor_name(first)} was {style.percent(errors[first])} off on "
        f"average: {n} kernels of {devices} device{'s' if devices > 1 else ''}"
    )
    note = (
        f"n = {n} kernels forecast, then measured. Line: equal; shaded: within 20 %. Right: median, and 10th to "
        "90th percentile, of each family."
    )
    caption = (
        f"Forecasts written down before measuring against the measurement, {n} kernels. Left: each kernel. Right: "
        "forecast over measured by kernel family, median with the 10th to 90th percentile. A CPU is no device "
        "these predictors were made for: a few micro-measurements describe it to them."
    )
    return style.Finding(title, note, caption, f"{title}. Mean error: {style.worded(errors)}.", n)
