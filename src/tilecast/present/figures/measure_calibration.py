"""Error of forecasts for a device after a few kernels were measured on it, on kernels that were not used."""

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/measure/calibration.csv": "measured.live_calibration"}
GROUP, TITLE, ORDER = "This machine", "What measuring a few kernels helps", 250


def draw(calibration: pd.DataFrame) -> style.Picture:
    """A panel a device: mean error on kernels never used, against how many others the scales were fitted on."""
    if calibration.empty:
        return style.empty_panel(TITLE, "too few kernels were forecast and then measured here")
    predictors = naming.ordered(naming.PREDICTORS, calibration["predictor"])
    parts = list(calibration.groupby(["where", "device"], sort=False))
    steps = sorted(calibration["n"].unique())
    figure, panels = style.grid(len(parts), 1, 1.9, sharex=True)
    for ((where, device), part), axes in zip(parts, panels, strict=True):
        for name in predictors:
            mine = part[part["predictor"] == name].sort_values("n")
            x, look = [steps.index(n) for n in mine["n"]], style.marks(name)
            ends = mine["low_percent"], mine["high_percent"]
            axes.fill_between(x, *ends, color=look["color"], alpha=0.15, linewidth=0)
            axes.plot(x, mine["mape_percent"], **look)
        style.percent_axis(axes.yaxis, lowest=10, highest=max(1000.0, float(part["high_percent"].max()) * 1.1))
        axes.set_ylabel("Mean error (%)")
        axes.set_title(f"{naming.device_name(str(device))} ({where})", fontsize=style.MINOR_PT)
        axes.grid(axis="y")
    panels[-1].set_xticks(range(len(steps)), [str(n) for n in steps])
    panels[-1].set_xlabel("Kernels measured to calibrate on (0: forecasts as they were before)")
    last = parts[-1][1]
    found = _finding(last[last["predictor"] == predictors[-1]].sort_values("n"), len(calibration))
    return style.finish(figure, calibration, found, predictors)


def _finding(steps: pd.DataFrame, n: int) -> style.Finding:
    """The error of the last predictor on the last device, before calibration and after."""
    before, after = steps.iloc[0], steps.iloc[-1]
    title = (
        f"{after['n']} measured kernels take {naming.predictor_name(after['predictor'])}'s error from "
        f"{naming.significant(before['mape_percent'])} to {style.percent(after['mape_percent'])} on "
        f"{naming.device_name(after['device'])}"
    )
    note = (
        f"Mean over random draws, shaded 10th to 90th percentile; error on {after['tested']} kernels never "
        "calibrated on."
    )
    caption = (
        "Error of forecasts after calibration: one factor a kernel family, with the forecast from the "
        "description as its prior, fitted on the given number of measured kernels and tested on others."
    )
    words = "; ".join(
        f"{style.percent(row['mape_percent'])} with {row['n']} measured" for row in steps.to_dict("records")
    )
    return style.Finding(title, note, caption, f"{title}. {words}.", n)
