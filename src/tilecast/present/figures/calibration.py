"""Whether the intervals hold what they claim: the share of measurements inside, and where each one lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "results/evaluation/coverage.csv": "evaluation.coverage",
    "results/evaluation/interval_cells.csv": "evaluation.interval_cells",
}
GROUP = "Predictors"
TITLE = "Calibration of the intervals"
ORDER = 100
CAPTION = (
    "Claimed against actual coverage of the intervals over the measured plain cells, with the binomial "
    "interval of the share; and where in its interval each measurement lies."
)

WIDEST = 4.0  # half-widths drawn; what lies beyond is drawn at the edge
BAND = "#f0f0f0"


def draw(coverage: pd.DataFrame, cells: pd.DataFrame) -> style.Picture:
    """A row a group of GPUs, then a row a GPU: share inside with its binomial interval; where each cell lies."""
    whole = coverage[(coverage["mode"] == "all") & (coverage["distribution"] == "all")]
    if whole.empty:
        return style.empty_panel(
            "Calibration of the intervals", "no predictor with intervals meets a measured cell"
        )
    predictors = naming.ordered(naming.PREDICTORS, whole["predictor"])
    devices = naming.ordered(naming.DEVICES, cells["device"])
    groups = [
        ("NVIDIA", "all", "All NVIDIA GPUs"),
        ("NVIDIA", "in training", "Seen GPUs"),
        ("NVIDIA", "held out", "Unseen GPUs"),
        *((name, "all", naming.device_name(name)) for name in devices),
    ]
    found = {(row["predictor"], row["device"], row["gpu"]): row for row in whole.to_dict("records")}
    rows = [group for group in groups if any((name, *group[:2]) in found for name in predictors)]
    ahead = len(rows) - len(devices)
    figure = style.canvas(0.24 * len(rows) + 0.65)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1.25))
    counts = [max(found[name, *row[:2]]["n"] for name in predictors if (name, *row[:2]) in found) for row in rows]
    left.set_yticks(range(len(rows)), [f"{row[2]}, n = {n}" for row, n in zip(rows, counts, strict=True)])
    left.set(xlim=(-4, 104), ylim=(len(rows) - 0.4, -0.6), xlabel="Inside the interval (%)")
    right.set(xlim=(-WIDEST * 1.06, WIDEST * 1.06), xlabel="Measured, in half-widths")
    right.axvspan(-1, 1, color=BAND, zorder=0)
    right.axvline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}".replace("-", "−") if value else "0")
    claimed = float(whole["claimed_percent"].iloc[0])
    left.axvline(claimed, color=style.INK, linewidth=1.2, zorder=1)
    left.set_xticks([0, 50, claimed, 100])
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        for place in range(1, len(rows)):
            bold = place == ahead
            axes.axhline(place - 0.5, color=style.MUTED if bold else style.FAINT, linewidth=0.8 if bold else 0.5)
    for lane, name in enumerate(predictors):
        shift = 0.0 if len(predictors) == 1 else 0.5 * lane / (len(predictors) - 1) - 0.25
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

    first = predictors[-1]
    main = found.get((first, "NVIDIA", "all")) or found[first, rows[0][0], rows[0][1]]
    title = f"{naming.predictor_name(first)}'s {claimed:.0f} % intervals hold {main['coverage_percent']:.0f} % of "
    title += "the measured NVIDIA cells" if (first, "NVIDIA", "all") in found else "the measured cells"
    sides = [found.get((first, "NVIDIA", side)) for side in ("in training", "held out")]
    if sides[0] and sides[1]:
        title += (
            f": {sides[0]['coverage_percent']:.0f} % on GPUs seen in training, "
            f"{sides[1]['coverage_percent']:.0f} % on unseen ones"
        )
    n = len(cells[cells["predictor"] == first])
    beyond = int((cells["position"].abs() > WIDEST).sum())
    edge = f" {beyond} beyond ±{WIDEST:.0f} drawn at the edge." if beyond else ""
    keys = [
        Line2D([], [], color=style.INK, linewidth=1.2, label=f"claimed, {claimed:.0f} %"),
        Line2D(
            [], [], linestyle="none", marker="o", markersize=3.2, color=style.INK, alpha=0.6, label="measured cell"
        ),
    ]
    style.frame(
        figure,
        title,
        f"n = {n} plain cells. Left: line, binomial interval. Right: where each measurement lies; shaded, inside."
        + edge,
        predictors,
        keys=keys,
    )
    width = f"mean width {naming.significant(main['width_percent'])} % of the forecast"
    needed = f"{naming.significant(main['half_widths_needed'])} times the half-width would hold {claimed:.0f} %"
    caption = (
        f"Claimed against actual coverage of the {claimed:.0f} % intervals over {n} measured plain cells, with "
        f"the binomial interval of the share; {width}, {needed} of the NVIDIA cells. Right: how far each "
        "measurement lies from its forecast, in half-widths of its interval. The widths come from kernels of "
        "training GPUs alone; no AMD GPU was trained on."
    )
    alt = f"{title}. " + "; ".join(
        f"{row[2]} {found[first, row[0], row[1]]['inside']} of {found[first, row[0], row[1]]['n']}"
        for row in rows
        if (first, *row[:2]) in found
    )
    columns = ["predictor", "device", "gpu", "n", "claimed_percent", "inside", "coverage_percent", "ci_low"]
    return style.Picture(figure, whole[[*columns, "ci_high", "width_percent"]], title, caption, alt + ".", n)
