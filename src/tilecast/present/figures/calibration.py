"""Claimed against actual coverage of the intervals over the measured plain cells.

Left with the binomial interval of the share; right where in its interval each measurement lies.
"""

from typing import Any

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {
    "results/evaluation/coverage.csv": "evaluation.coverage",
    "results/evaluation/interval_cells.csv": "evaluation.interval_cells",
}
GROUP, TITLE, ORDER = "Predictors", "Calibration of the intervals", 100

WIDEST = 4.0  # half-widths drawn; what lies beyond is drawn at the edge
GROUPS = {"all": "All NVIDIA GPUs", "in training": "Seen GPUs", "held out": "Unseen GPUs"}
Found = dict[tuple[str, str, str], dict[Any, Any]]  # predictor, device and kind of GPU -> its coverage


def draw(coverage: pd.DataFrame, cells: pd.DataFrame) -> style.Picture:
    """A row a group of GPUs, then a row a GPU: share inside with its binomial interval; where each cell lies."""
    whole = coverage[(coverage["mode"] == "all") & (coverage["distribution"] == "all")]
    if whole.empty:
        return style.empty_panel(TITLE, "no predictor with intervals meets a measured cell")
    predictors = naming.ordered(naming.PREDICTORS, whole["predictor"])
    devices = naming.ordered(naming.DEVICES, cells["device"])
    found: Found = {(row["predictor"], row["device"], row["gpu"]): row for row in whole.to_dict("records")}
    groups = [("NVIDIA", *group) for group in GROUPS.items()]
    groups += [(name, "all", naming.device_name(name)) for name in devices]
    rows = [group for group in groups if any((name, *group[:2]) in found for name in predictors)]
    ahead = len(rows) - len(devices)
    claimed = float(whole["claimed_percent"].iloc[0])
    figure = style.canvas(0.24 * len(rows) + 0.65)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
    counts = [max(found[name, *row[:2]]["n"] for name in predictors if (name, *row[:2]) in found) for row in rows]
    style.rows(left, [f"{row[2]}, n = {n}" for row, n in zip(rows, counts, strict=True)])
    left.set(xlim=(-4, 104), xlabel="Inside the interval (%)")
    left.axvline(claimed, color=style.INK, linewidth=1.2, zorder=1)
    left.set_xticks([0, 50, claimed, 100])
    right.set(xlim=(-WIDEST * 1.06, WIDEST * 1.06), xlabel="Measured, in half-widths")
    right.axvspan(-1, 1, color="#f0f0f0", zorder=0)
    right.axvline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}".replace("-", "−") if value else "0")
    right.tick_params(axis="y", length=0)
    if ahead:
        words = "cells of these groups: their GPUs' rows below"
        look = {"color": style.MUTED, "fontsize": style.MINOR_PT, "bbox": {"color": "white", "pad": 1}}
        right.text(0, (ahead - 1) / 2, words, ha="center", va="center", **look)
    for axes in (left, right):
        for place in range(1, len(rows)):
            look = (
                {"color": style.MUTED, "linewidth": 0.8}
                if place == ahead
                else {"color": style.FAINT, "linewidth": 0.5}
            )
            axes.axhline(place - 0.5, **look)
    for name, shift in style.lanes(predictors):
        look = style.marks(name)
        for place, row in enumerate(rows):
            cell = found.get((name, *row[:2]))
            if cell is not None:
                left.hlines(place + shift, cell["ci_low"], cell["ci_high"], color=look["color"], linewidth=1.2)
                left.plot(cell["coverage_percent"], place + shift, linestyle="none", clip_on=False, **look)
        mine = cells[(cells["predictor"] == name) & cells["position"].notna()]
        y = [ahead + devices.index(device) + shift for device in mine["device"]]
        x = mine["position"].clip(-WIDEST, WIDEST)
        right.plot(x, y, linestyle="none", marker="o", markersize=3.2, color=style.INK, alpha=0.5)
    keys = [
        style.line_key(f"claimed, {claimed:.0f} %", style.INK, linewidth=1.2),
        style.mark_key("measured cell", style.INK, "o", markersize=3.2, alpha=0.6),
    ]
    columns = ["predictor", "device", "gpu", "n", "claimed_percent", "inside", "coverage_percent", "ci_low"]
    data = whole[[*columns, "ci_high", "width_percent"]]
    return style.finish(figure, data, _finding(cells, found, predictors[-1], rows), predictors, keys=keys)


def _finding(cells: pd.DataFrame, found: Found, first: str, rows: list[tuple[str, str, str]]) -> style.Finding:
    """The share of the NVIDIA cells inside the last predictor's intervals, on GPUs seen in training and others."""
    nvidia = found.get((first, "NVIDIA", "all"))
    main = nvidia or found[first, *rows[0][:2]]
    claimed = main["claimed_percent"]
    title = (
        f"{naming.predictor_name(first)}'s {claimed:.0f} % intervals hold {main['coverage_percent']:.0f} % of "
        f"the measured {'NVIDIA ' if nvidia else ''}cells"
    )
    seen, unseen = (found.get((first, "NVIDIA", side)) for side in ("in training", "held out"))
    if seen and unseen:
        title += (
            f": {seen['coverage_percent']:.0f} % on GPUs seen in training, "
            f"{unseen['coverage_percent']:.0f} % on unseen ones"
        )
    n = int((cells["predictor"] == first).sum())
    beyond = int((cells["position"].abs() > WIDEST).sum())
    note = (
        f"n = {n} plain cells. Left: line, binomial interval. Right: where each measurement lies; shaded, inside."
    )
    caption = (
        f"Claimed against actual coverage of the {claimed:.0f} % intervals over {n} measured plain cells, with "
        f"the binomial interval of the share; mean width {style.percent(main['width_percent'])} of the forecast, "
        f"{naming.significant(main['half_widths_needed'])} times the half-width would hold {claimed:.0f} % of the "
        "NVIDIA cells. Right: how far each "
        "measurement lies from its forecast, in half-widths of its interval. The widths come from kernels of "
        "training GPUs alone; no AMD GPU was trained on."
    )
    inside = ((row[2], found.get((first, *row[:2]))) for row in rows)
    words = "; ".join(f"{name} {cell['inside']} of {cell['n']}" for name, cell in inside if cell)
    edge = f" {beyond} beyond ±{WIDEST:.0f} drawn at the edge." if beyond else ""
    return style.Finding(title, note + edge, caption, f"{title}. {words}.", n)
