"""All-reduce over sizes: measured, and forecast with the size, or the whole system, left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/parallel/collectives.csv": "multigpu.collectives"}
GROUP = "Many GPUs"
TITLE = "Collectives"
ORDER = 230
CAPTION = (
    "All-reduce over buffer sizes, measured and forecast: with the size left out of the fit, or with the whole "
    "system left out."
)

SYSTEMS = {
    "a100_sxm": "A100", "h100_sxm": "H100", "l40s": "L40S",
    "h200_sxm": "H200", "b200_sxm": "B200", "gb200": "GB200", "b300_sxm": "B300",
}  # fmt: skip
BASES = ("leave-one-size-out", "spec-only")
PANELS = 6
LARGE = 2**20
GROUPS = {2: "#56B4E9", 4: "#009E73", 8: "#D55E00"}


def draw(cells: pd.DataFrame) -> style.Picture:
    """A panel a system, latency over bytes: points measured, lines forecast; a colour a group of GPUs."""
    cells = cells[cells["op"] == "all_reduce"]
    measured_as = set(cells.loc[cells["basis"] == "leave-one-size-out", "system"])
    kept = cells[(cells["basis"] == "leave-one-size-out") | ~cells["system"].isin(measured_as)]
    if kept.empty:
        return style.empty_panel("All-reduce", "no measured collective")
    kept = kept.reset_index(drop=True)
    every = naming.ordered(SYSTEMS, kept["system"])
    systems, more = every[:PANELS], every[PANELS:]
    lines = -(-len(systems) // 3)
    figure = style.canvas(1.55 * lines + 0.2)
    panels = figure.subplots(lines, 3, squeeze=False, sharex=True, sharey=True)
    sizes = sorted(set(kept["bytes"]))
    for place, axes in enumerate(panels.flatten()):
        if place >= len(systems):
            axes.set_axis_off()
            continue
        part = kept[kept["system"] == systems[place]]
        axes.set(xscale="log", yscale="log")
        axes.grid(axis="y")
        axes.set_xticks([2**10, 2**20, 2**30], ["1 KiB", "1 MiB", "1 GiB"])
        axes.set_xticks([], minor=True)
        axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
        axes.set_yticks([], minor=True)
        axes.set_xlim(sizes[0] / 2, sizes[-1] * 2)
        for gpus, mine in part.groupby("gpus"):
            colour = GROUPS.get(int(str(gpus)), style.MUTED)
            mine = mine.sort_values("bytes")
            axes.plot(mine["bytes"], mine["held_out_ms"], color=colour, linewidth=1.1)
            axes.plot(
                mine["bytes"], mine["measured_ms"], linestyle="none", marker="o", markersize=2.6, color=colour
            )
        name = naming.display(SYSTEMS, systems[place])
        axes.set_title(f"{name}, {_mean(part)} %", weight="bold", pad=2)
        if place % 3 == 0:
            axes.set_ylabel("Latency (ms)")
        if place // 3 == lines - 1:
            axes.set_xlabel("Bytes of the buffer")

    seen, unseen = (kept[kept["basis"] == basis] for basis in BASES)
    title = f"From 1 MiB up an all-reduce is forecast within {_mean(seen[seen['bytes'] >= LARGE])} % on average"
    if len(unseen):
        title += f", on a system never seen within {_mean(unseen[unseen['bytes'] >= LARGE])} %"
    more_names = ", ".join(naming.display(SYSTEMS, name) for name in more)
    handles = [Line2D([], [], color=GROUPS[gpus], label=f"{gpus} GPUs") for gpus in GROUPS]
    handles += [
        Line2D([], [], linestyle="none", marker="o", markersize=3, color=style.INK, label="measured"),
        Line2D([], [], color=style.INK, linewidth=1.1, label="forecast"),
    ]
    style.frame(
        figure,
        title,
        f"n = {len(kept)} measured all-reduces. Above each panel: mean absolute error over all sizes. Left out: "
        f"{_named(seen)}: the size; {_named(unseen)}: the system."
        + (f" Not drawn: {more_names}." if more else ""),
        keys=handles,
        columns=5,
    )
    caption = (
        f"All-reduce among 2, 4 and 8 GPUs of one node, {len(kept)} measurements on {len(every)} systems. "
        f"Lines: forecast by curves fitted without that size ({_named(seen)}), or from the system's description "
        "and another system's curves alone (the others)."
    )
    errors = "; ".join(
        f"{naming.display(SYSTEMS, name)} {_mean(kept[kept['system'] == name])} %" for name in systems
    )
    columns = ["basis", "system", "gpus", "bytes", "measured_ms", "held_out_ms", "ape_percent"]
    return style.Picture(
        figure, kept[columns], title, caption, f"{title}. Mean errors over all sizes: {errors}.", len(kept)
    )


def _mean(part: pd.DataFrame) -> str:
    return naming.significant(float(part["ape_percent"].mean())) if len(part) else "no"


def _named(part: pd.DataFrame) -> str:
    names = [naming.display(SYSTEMS, name) for name in naming.ordered(SYSTEMS, part["system"])]
    return ", ".join(names) or "none"
