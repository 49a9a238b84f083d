"""Sum of the measured per-operator latencies relative to the measured latency of the same cell.

This is the part of any forecast's error that the labels themselves bring.
"""

import pandas as pd

from tilecast.evaluate.statistics import error_summary, mean_by
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/label_noise.csv": "evaluation.label_noise"}
GROUP, TITLE, ORDER = "Labels", "Consistency of the labels", 90

BAND_PERCENT = 10
MODES = {"inference": ("o", "white", -0.16), "training": ("s", style.INK, 0.16)}  # mark, its face, place in a row


def draw(noise: pd.DataFrame) -> style.Picture:
    """A row a device, a point a cell at the sum of its operators relative to the whole; zero is agreement."""
    if noise.empty:
        return style.empty_panel(TITLE)
    devices = naming.ordered(naming.DEVICES, noise["device"])
    drawn = noise.assign(difference_percent=100 * (noise["ratio"] - 1))
    limit = max(20.0, 1.1 * float(drawn["difference_percent"].abs().max()))
    figure = style.canvas(0.27 * len(devices) + 0.5)
    axes = figure.subplots()
    axes.set_xlim(-limit, limit)
    axes.axvspan(-BAND_PERCENT, BAND_PERCENT, color="#f0f0f0", zorder=0)
    axes.axvline(0, color=style.INK, linewidth=1.4, zorder=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")
    keys = []
    for mode, (marker, face, shift) in MODES.items():
        mine = drawn[drawn["mode"] == mode]
        y = [devices.index(device) + shift for device in mine["device"]]
        look: style.Look = {"marker": marker, "markersize": 4, "markerfacecolor": face}
        keys.append(style.mark_key(mode, style.INK, **look))
        look |= {"linestyle": "none", "markeredgecolor": style.INK, "markeredgewidth": 0.9, "alpha": 0.8}
        axes.plot(mine["difference_percent"], y, **look)
    counts = drawn["device"].value_counts()
    style.rows(axes, [f"{naming.device_name(name)}, n = {counts[name]}" for name in devices], lines=True)
    axes.set_xlabel("Sum of measured operators relative to measured whole (%)")
    columns = [*style.CELL, "option", "measured_ms", "operators_ms", "ratio"]
    return style.finish(figure, drawn[columns], _finding(drawn, devices), keys=keys)


def _finding(drawn: pd.DataFrame, devices: list[str]) -> style.Finding:
    """How far sum and whole lie apart on average, and how often by more than the band."""
    n = len(drawn)
    off = drawn["difference_percent"].abs()
    title = (
        "Measured operators miss the measured whole by "
        f"{style.percent(error_summary(off)['mape_percent'])} on average; "
        f"{int((off > BAND_PERCENT).sum())} of {n} cells by more than {BAND_PERCENT} %"
    )
    note = (
        f"n = {n} cells with operator labels. Shaded: ±{BAND_PERCENT} %. No forecast is involved: this is noise "
        "of the labels themselves."
    )
    caption = (
        "Sum of the measured per-operator latencies (repeated layers counted) relative to the measured end-to-end "
        f"latency of the same cell, {n} cells. The part of any forecast's error that the labels themselves bring."
    )
    by_device = mean_by(drawn.assign(off=off), "off", "device")
    words = style.listed((naming.device_name(name), by_device[name]) for name in devices)
    return style.Finding(title, note, caption, f"{title}. Mean by device: {words}.", n)
