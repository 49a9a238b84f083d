"""Whether the measured operators of a cell add up to its measured end-to-end latency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/evaluation/label_noise.csv": "evaluation.label_noise"}
GROUP = "Labels"
TITLE = "Consistency of the labels"
ORDER = 90
CAPTION = (
    "Sum of the measured per-operator latencies relative to the measured end-to-end latency of the same cell: "
    "the part of any forecast's error that the labels themselves bring."
)

BAND_PERCENT = 10
MODES = {"inference": ("o", "white"), "training": ("s", style.INK)}


def draw(noise: pd.DataFrame) -> style.Picture:
    """A row a device, a point a cell at the sum of its operators relative to the whole; zero is agreement."""
    if noise.empty:
        return style.empty_panel("Consistency of the labels")
    devices = naming.ordered(naming.DEVICES, noise["device"])
    drawn = noise.assign(difference_percent=100 * (noise["ratio"] - 1))
    limit = max(20.0, 1.1 * float(drawn["difference_percent"].abs().max()))
    figure = style.canvas(0.27 * len(devices) + 0.5)
    axes = figure.subplots()
    axes.set(xlim=(-limit, limit), ylim=(len(devices) - 0.4, -0.6))
    counts = drawn["device"].value_counts()
    axes.set_yticks(range(len(devices)), [f"{naming.device_name(name)}, n = {counts[name]}" for name in devices])
    axes.tick_params(axis="y", length=0)
    axes.axvspan(-BAND_PERCENT, BAND_PERCENT, color="#f0f0f0", zorder=0)
    axes.axvline(0, color=style.INK, linewidth=1.4, zorder=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")
    for lane, (mode, (marker, face)) in enumerate(MODES.items()):
        mine = drawn[drawn["mode"] == mode]
        y = [devices.index(device) + (-0.16, 0.16)[lane] for device in mine["device"]]
        look: dict[str, Any] = {
            "marker": marker,
            "markersize": 4,
            "markerfacecolor": face,
            "markeredgewidth": 0.9,
            "alpha": 0.8,
        }
        axes.plot(mine["difference_percent"], y, linestyle="none", markeredgecolor=style.INK, **look)
    for place in range(1, len(devices)):
        axes.axhline(place - 0.5, color=style.FAINT, linewidth=0.5)
    axes.set_xlabel("Sum of measured operators relative to measured whole (%)")

    n = len(drawn)
    mean = float(drawn["difference_percent"].abs().mean())
    off = int((drawn["difference_percent"].abs() > BAND_PERCENT).sum())
    title = (
        f"Measured operators miss the measured whole by {naming.significant(mean)} % on average; "
        f"{off} of {n} cells by more than {BAND_PERCENT} %"
    )
    keys = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            color=style.INK,
            markerfacecolor=face,
            markersize=4,
            label=mode,
        )
        for mode, (marker, face) in MODES.items()
    ]
    style.frame(
        figure,
        title,
        f"n = {n} cells with operator labels. Shaded: ±{BAND_PERCENT} %. No forecast is involved: this is noise "
        "of the labels themselves.",
        keys=keys,
    )
    caption = (
        "Sum of the measured per-operator latencies (repeated layers counted) relative to the measured end-to-end "
        f"latency of the same cell, {n} cells. The part of any forecast's error that the labels themselves bring."
    )
    by_device = style.mean_by(drawn.assign(size=drawn["difference_percent"].abs()), "size", "device")
    alt = f"{title}. Mean by device: " + "; ".join(
        f"{naming.device_name(name)} {naming.significant(by_device[name])} %" for name in devices
    )
    columns = [
        "device",
        "model",
        "mode",
        "sequence_length",
        "batch_size",
        "option",
        "measured_ms",
        "operators_ms",
        "ratio",
    ]
    return style.Picture(figure, drawn[columns], title, caption, alt + ".", n)
