"""What the remote node costs each model: as claimed, as forecast on each host, and as measured."""

import pandas as pd
from matplotlib.patches import Patch

from tilecast.locality.guide import CLAIMED_PENALTIES, STAGES
from tilecast.present.figures import style
from tilecast.present.figures.hosts import HOSTS, eager

TABLES = {
    "results/numa/predicted.csv": "locality.predicted",
    "results/numa/record/comparison.csv": "locality.comparison",
}
GROUP, TITLE, ORDER = "Locality", "Penalty by model", 300

LINEAR_PERCENT = 50  # up to here the axis is linear
MEASURED_ROWS = 4  # measured intervals drawn a model
CLAIMED = "#dcdcdc"


def draw(predicted: pd.DataFrame, comparison: pd.DataFrame) -> style.Picture:
    """A row a model: the claimed range (bar), forecasts by host (points), measurements (black, with interval)."""
    plain = eager(predicted)
    models = list(dict.fromkeys(plain["model"]))
    hosts = {name: host for name, host in HOSTS.items() if name in set(plain["host"])}
    found = comparison[comparison["penalty_percent"].notna() & comparison["model"].isin(models)]
    moved = found["factor"].isin(["both", "memory"]) & (found["gpu"] != "all")
    measured = found[moved & (found["dtype"] == "fp32") & ~found["compiled"]]
    figure = style.canvas(0.46 * len(models) + 0.6)
    axes = figure.subplots()
    axes.set_xscale("symlog", linthresh=LINEAR_PERCENT, linscale=1.6)
    axes.set_xlim(-6, 600)
    ticks = [0, 10, 20, 30, 40, 50, 100, 400]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(LINEAR_PERCENT, color=style.MUTED, linewidth=0.8, linestyle=":")
    axes.text(LINEAR_PERCENT * 1.06, -0.4, "logarithmic from here", fontsize=style.MINOR_PT - 1, color=style.MUTED)
    style.rows(axes, models)
    axes.grid(axis="x")
    axes.set_xlabel("Longer from the remote node (%)")
    for row, model in enumerate(models):
        if model in CLAIMED_PENALTIES:
            low, high = CLAIMED_PENALTIES[model]
            axes.barh(row, high - low, left=low, height=0.8, color=CLAIMED, zorder=1)
        mine = plain[plain["model"] == model].set_index("host")
        for lane, (name, host) in enumerate(hosts.items()):
            place, cell = row - 0.3 + 0.12 * lane, mine.loc[name]
            axes.plot(cell[["low_percent", "high_percent"]], [place] * 2, color=host.colour, linewidth=1, zorder=2)
            dot: style.Look = {"color": host.colour, "marker": host.marker, "markersize": 4}
            axes.plot(cell["penalty_percent"], place, zorder=3, **dot)
        for lane, real in enumerate(measured[measured["model"] == model].head(MEASURED_ROWS).to_dict("records")):
            place = row + 0.42 - 0.05 * lane
            axes.plot([real["low_percent"], real["high_percent"]], [place] * 2, color=style.INK, zorder=4)
            axes.plot(real["penalty_percent"], place, color=style.INK, marker="|", markersize=7, zorder=4)
    keys = [Patch(color=CLAIMED, label="claimed"), *(host.key(linestyle="none") for host in hosts.values())]
    if len(measured):
        keys.append(style.line_key("measured, 95 %", style.INK, marker="|"))
    shown = ["penalty_percent", "low_percent", "high_percent", "bound_local", "bound_remote"]
    data = plain[["host", "model", "dtype", *shown]]
    return style.finish(figure, data, _finding(plain, len(models), len(measured)), keys=keys, columns=2)


def _finding(plain: pd.DataFrame, models: int, measured: int) -> style.Finding:
    """How many models slower copies cost nothing, and what takes longer there."""
    slowed = plain[(plain["host"] == "l40s_claimed") & (plain["penalty_percent"] < 1)]
    slower = " or ".join(STAGES[name] for name in dict.fromkeys(slowed["bound_remote"]))
    title = (
        f"Copies slowed 1.47 times cost {len(slowed)} of {models} models nothing: {slower} takes longer"
        if len(slowed)
        else "Slower copies cost every model something"
    )
    words = f"{measured} measured" if measured else "not measured: no host with a GPU and two nodes"
    black = (
        "Black: measured, memory or memory and CPU moved, with 95 % interval" if measured else "Forecasts alone"
    )
    caption = (
        f"How much longer a sample takes when its host buffers lie on the remote node, for {models} models. "
        "Grey: what the guide claims. Points: the pipeline of four stages, with the copy rates of each host, "
        "compute and launching as forecast; line: their 80 % intervals, and for a host not stated all that is "
        "left open (its PCIe, the links between its sockets, how many GPUs share them). Pageable memory is copied "
        f"while the host waits, so nothing overlaps. {black}; {words}. "
        f"The axis is linear up to {LINEAR_PERCENT} %, logarithmic beyond."
    )
    worst = plain.sort_values("penalty_percent").iloc[-1]
    alt = (
        f"{title}. Largest forecast: {style.percent(worst['penalty_percent'])} for {worst['model']} on "
        f"{HOSTS[worst['host']].name}; {words}."
    )
    return style.Finding(title, f"n = {len(plain)} forecasts, fp32; {words}.", caption, alt, len(plain))
