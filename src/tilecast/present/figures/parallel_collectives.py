"""All-reduce over buffer sizes, measured and forecast.

With the size left out of the fit, or with the whole system left out.
"""

from collections.abc import Iterable

import pandas as pd

from tilecast.evaluate.findings import mean_of
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/parallel/collectives.csv": "multigpu.collectives"}
GROUP, TITLE, ORDER = "Many GPUs", "Collectives", 230

SYSTEMS = {
    "a100_sxm": "A100",
    "h100_sxm": "H100",
    "l40s": "L40S",
    "h200_sxm": "H200",
    "b200_sxm": "B200",
    "gb200": "GB200",
    "b300_sxm": "B300",
}
SIZE_LEFT_OUT, SYSTEM_LEFT_OUT = "leave-one-size-out", "spec-only"
PANELS, ACROSS = 6, 3
LARGE = 2**20
GROUPS = {2: "#56B4E9", 4: "#009E73", 8: "#D55E00"}


def mean_error(part: pd.DataFrame) -> str:
    """The mean absolute error in percent, as text."""
    return naming.significant(mean_of(part["ape_percent"]), 2) if len(part) else "no"


def draw(cells: pd.DataFrame) -> style.Picture:
    """A panel a system, latency over bytes: points measured, lines forecast; a colour a group of GPUs."""
    cells = cells[cells["op"] == "all_reduce"]
    own = cells["basis"] == SIZE_LEFT_OUT
    kept = cells[own | ~cells["system"].isin(set(cells["system"][own]))].reset_index(drop=True)
    if kept.empty:
        return style.empty_panel(TITLE, "no measured collective")
    every = naming.ordered(SYSTEMS, kept["system"])
    systems = every[:PANELS]
    sizes = sorted(set(kept["bytes"]))
    figure, panels = style.grid(len(systems), ACROSS, 1.55, 0.2, sharex=True, sharey=True)
    for place, (system, axes) in enumerate(zip(systems, panels, strict=True)):
        part = kept[kept["system"] == system]
        axes.set(xscale="log", yscale="log")
        axes.grid(axis="y")
        axes.set_xticks([2**10, 2**20, 2**30], ["1 KiB", "1 MiB", "1 GiB"])
        axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xlim(sizes[0] / 2, sizes[-1] * 2)
        for gpus, mine in part.groupby("gpus"):
            colour = GROUPS.get(int(str(gpus)), style.MUTED)
            mine = mine.sort_values("bytes")
            axes.plot(mine["bytes"], mine["held_out_ms"], color=colour, linewidth=1.1)
            dots: style.Look = {"linestyle": "none", "marker": "o", "markersize": 2.6, "color": colour}
            axes.plot(mine["bytes"], mine["measured_ms"], **dots)
        axes.set_title(f"{naming.display(SYSTEMS, system)}, {mean_error(part)} %", weight="bold", pad=2)
        if place % ACROSS == 0:
            axes.set_ylabel("Latency (ms)")
        if place // ACROSS == (len(systems) - 1) // ACROSS:
            axes.set_xlabel("Bytes of the buffer")
    keys = [style.line_key(f"{gpus} GPUs", colour) for gpus, colour in GROUPS.items()]
    keys.append(style.mark_key("measured", style.INK, "o", markersize=3))
    keys.append(style.line_key("forecast", style.INK, linewidth=1.1))
    columns = ["basis", "system", "gpus", "bytes", "measured_ms", "held_out_ms", "ape_percent"]
    return style.finish(figure, kept[columns], _finding(kept, every), keys=keys, columns=5)


def _finding(kept: pd.DataFrame, every: list[str]) -> style.Finding:
    """The mean error of large buffers, on measured systems and on systems left out."""
    seen, unseen = (kept[kept["basis"] == basis] for basis in (SIZE_LEFT_OUT, SYSTEM_LEFT_OUT))
    means = [mean_error(part[part["bytes"] >= LARGE]) for part in (seen, unseen)]
    title = f"Forecasts of an all-reduce from 1 MiB up err by {means[0]} % on average"
    if len(unseen):
        title += f", by {means[1]} % on a system never seen"
    more = f" Not drawn: {_named(every[PANELS:])}." if every[PANELS:] else ""
    note = (
        f"n = {len(kept)} measured all-reduces. Above each panel: mean absolute error over all sizes. Left out: "
        f"{_named(seen['system'])}: the size; {_named(unseen['system'])}: the system."
    )
    caption = (
        f"All-reduce among 2, 4 and 8 GPUs of one node, {len(kept)} measurements on {len(every)} systems. "
        f"Lines: forecast by curves fitted without that size ({_named(seen['system'])}), or from the system's "
        "description and another system's curves alone (the others)."
    )
    errors = "; ".join(
        f"{naming.display(SYSTEMS, name)} {mean_error(kept[kept['system'] == name])} %" for name in every[:PANELS]
    )
    alt = f"{title}. Mean errors over all sizes: {errors}."
    return style.Finding(title, note + more, caption, alt, len(kept))


def _named(systems: Iterable[str]) -> str:
    """The systems' names in the order of presentation."""
    return ", ".join(naming.display(SYSTEMS, name) for name in naming.ordered(SYSTEMS, systems)) or "none"
