"""What measuring a few kernels on a device does to the forecasts of the others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/measure/calibration.csv": "measured.live_calibration"}
GROUP = "This machine"
TITLE = "What measuring a few kernels helps"
ORDER = 250
CAPTION = "Error of forecasts for a device after a few kernels were measured on it, on kernels that were not used."

KEY = ["where", "device"]


def draw(calibration: pd.DataFrame) -> style.Picture:
    """A panel a device: mean error on kernels never used, against how many others the scales were fitted on."""
    if calibration.empty:
        return style.empty_panel("Calibration on a device", "too few kernels were forecast and then measured here")
    predictors = naming.ordered(naming.PREDICTORS, calibration["predictor"])
    devices = list(calibration[KEY].drop_duplicates().itertuples(index=False, name=None))
    figure = style.canvas(1.9 * len(devices))
    panels = np.atleast_1d(figure.subplots(len(devices), 1, sharex=True))
    steps = sorted(calibration["n"].unique())
    place = {n: index for index, n in enumerate(steps)}
    for axes, (where, device) in zip(panels, devices, strict=True):
        part = calibration[(calibration["where"] == where) & (calibration["device"] == device)]
        for name in predictors:
            mine = part[part["predictor"] == name].sort_values("n")
            x, look = [place[n] for n in mine["n"]], style.marks(name)
            axes.fill_between(
                x, mine["low_percent"], mine["high_percent"], color=look["color"], alpha=0.15, linewidth=0
            )
            axes.plot(x, mine["mape_percent"], **look)
        style.percent_axis(axes.yaxis, lowest=10, highest=max(1000.0, float(part["high_percent"].max()) * 1.1))
        axes.set_ylabel("Mean error (%)")
        axes.set_title(f"{naming.device_name(device)} ({where})", fontsize=style.MINOR_PT)
        axes.grid(axis="y")
    panels[-1].set_xticks(range(len(steps)), [str(n) for n in steps])
    panels[-1].set_xlabel("Kernels measured to calibrate on (0: forecasts as they were before)")
    first = predictors[-1]
    where, device = devices[-1]
    mine = calibration[(calibration["where"] == where) & (calibration["device"] == device)]
    mine = mine[mine["predictor"] == first].sort_values("n")
    before, after = float(mine["mape_percent"].iloc[0]), float(mine["mape_percent"].iloc[-1])
    n, tested = int(mine["n"].iloc[-1]), int(mine["tested"].iloc[-1])
    title = (
        f"{n} measured kernels take {naming.predictor_name(first)}'s error from {naming.significant(before)} to "
        f"{naming.significant(after)} % on {naming.device_name(device)}"
    )
    note = (
        f"Mean over random draws, shaded 10th to 90th percentile; error on {tested} kernels never calibrated on."
    )
    style.frame(figure, title, note, predictors)
    caption = (
        "Error of forecasts after calibration: one factor a kernel family, with the forecast from the "
        "description as its prior, fitted on the given number of measured kernels and tested on others."
    )
    words = "; ".join(
        f"{naming.significant(row['mape_percent'])} % with {row['n']} measured" for row in mine.to_dict("records")
    )
    return style.Picture(figure, calibration, title, caption, f"{title}. {words}.", len(calibration))
