"""Forecasts made before measuring against what was then measured, on every device that was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style
from tilecast.tables import naming
from tilecast.tables.declared.measured import KERNEL_KEY

TABLES = {"results/measure/kernels.csv": "measured.live_kernels"}
GROUP = "This machine"
TITLE = "Forecast before, measured after"
ORDER = 240
CAPTION = (
    "Forecasts written down before measuring, against what was then measured on the machine at hand (live) or "
    "kept from earlier runs (replayed)."
)

KEY = ["where", "device"]


def draw(kernels: pd.DataFrame) -> style.Picture:
    """A row a device: left each kernel, forecast against measured; right forecast over measured by family."""
    if kernels.empty:
        return style.empty_panel("Forecast and measurement", "nothing was forecast and then measured here")
    predictors = naming.ordered(naming.PREDICTORS, kernels["predictor"])
    devices = list(kernels[KEY].drop_duplicates().itertuples(index=False, name=None))
    families = naming.ordered(naming.FAMILIES, kernels["family"])
    figure = style.canvas((0.24 * len(families) + 1.1) * len(devices))
    grid = np.atleast_2d(figure.subplots(len(devices), 2, width_ratios=(1.15, 1)))
    logs = np.log(kernels["predicted_ms"].to_numpy(dtype=float) / kernels["measured_ms"].to_numpy(dtype=float))
    kernels = kernels.assign(log_ratio=logs)
    reach = float(np.exp(np.quantile(np.abs(logs), 0.98))) * 1.5
    for (left, right), (where, device) in zip(grid, devices, strict=True):
        part = kernels[(kernels["where"] == where) & (kernels["device"] == device)]
        ends = [
            part[["measured_ms", "predicted_ms"]].min().min() / 1.6,
            part[["measured_ms", "predicted_ms"]].max().max() * 1.6,
        ]
        left.plot(ends, ends, color=style.MUTED, linewidth=0.8)
        left.fill_between(
            ends, [end / 1.2 for end in ends], [end * 1.2 for end in ends], color="#eeeeee", zorder=0
        )
        for axis in (left.xaxis, left.yaxis):
            style.plain_log(axis)
        left.set(xlim=ends, ylim=ends, xlabel="Measured (ms)", ylabel="Forecast before (ms)")
        left.set_title(f"{naming.device_name(device)} ({where})", fontsize=style.MINOR_PT)
        style.plain_log(right.xaxis)
        right.set(xlim=(1 / reach, reach), ylim=(len(families) - 0.5, -0.5), xlabel="Forecast ÷ measured")
        right.set_yticks(range(len(families)), [naming.display(naming.FAMILIES, name) for name in families])
        right.tick_params(axis="y", length=0)
        right.axvline(1, color=style.MUTED, linewidth=0.8)
        right.axvspan(1 / 1.2, 1.2, color="#eeeeee", zorder=0)
        for lane, name in enumerate(predictors):
            mine = part[part["predictor"] == name]
            look = style.marks(name) | {"markersize": 3.2, "alpha": 0.75}
            left.plot(mine["measured_ms"], mine["predicted_ms"], linestyle="none", **look)
            shift = 0.3 * (lane - (len(predictors) - 1) / 2)
            for place, family in enumerate(families):
                logs = mine.loc[mine["family"] == family, "log_ratio"]
                if len(logs):
                    low, middle, high = np.clip(np.exp(logs.quantile([0.1, 0.5, 0.9])), 1 / reach, reach)
                    right.hlines(place + shift, low, high, color=style.marks(name)["color"], linewidth=1.1)
                    right.plot(middle, place + shift, linestyle="none", clip_on=False, **style.marks(name))
    errors = mean_by(kernels.assign(ape=kernels["ape_percent"]), "ape")
    n = len(kernels[[*KEY, *KERNEL_KEY]].drop_duplicates())
    first = predictors[-1]
    title = (
        f"Before measuring, {naming.predictor_name(first)} was {naming.significant(errors[first])} % off on "
        f"average: {n} kernels of {len(devices)} device{'s' if len(devices) > 1 else ''}"
    )
    note = "Line: equal; shaded: within 20 %. Right: median, and 10th to 90th percentile, of each family."
    style.frame(figure, title, f"n = {n} kernels forecast, then measured. {note}", predictors)
    caption = (
        f"Forecasts written down before measuring against the measurement, {n} kernels. Left: each kernel. Right: "
        "forecast over measured by kernel family, median with the 10th to 90th percentile. A CPU is no device "
        "these predictors were made for: a few micro-measurements describe it to them."
    )
    alt = f"{title}. Mean error: {style.worded(errors)}."
    columns = [*KEY, "predictor", *KERNEL_KEY, "predicted_ms", "measured_ms", "ape_percent"]
    return style.Picture(figure, kernels[columns], title, caption, alt, n)
