"""What the remote node costs each model: claimed, forecast on each host, measured where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tilecast.locality.guide import CLAIMED_PENALTIES
from tilecast.present.figures import style
from tilecast.present.figures.hosts import HOSTS
from tilecast.tables.naming import significant

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "results/numa/predicted.csv": "locality.predicted",
    "results/numa/record/comparison.csv": "locality.comparison",
}
GROUP = "Locality"
TITLE = "Penalty by model"
ORDER = 300
CAPTION = "What the remote node costs each model: as claimed, as forecast on each host, and as measured."

STAGES = {"h2d": "copying in", "compute": "computing", "d2h": "copying out", "launch": "launching"}
LINEAR_PERCENT = 50  # up to here the axis is linear
MEASURED_ROWS = 4  # measured intervals drawn a model


def draw(predicted: pd.DataFrame, comparison: pd.DataFrame) -> style.Picture:
    """A row a model: the claimed range (bar), forecasts by host (points), measurements (black, with interval)."""
    plain = predicted[predicted["dtype"] == "fp32"]
    models = list(dict.fromkeys(plain["model"]))
    hosts = [name for name in HOSTS if name in set(plain["host"])]
    found = comparison.dropna(subset=["penalty_percent"])
    measured = found[
        found["model"].isin(models)
        & (found["gpu"] != "all")
        & found["factor"].isin(["both", "memory"])
        & (found["dtype"] == "fp32")
        & ~found["compiled"]
    ]
    figure = style.canvas(0.36 * len(models) + 0.6)
    axes = figure.subplots()
    axes.set_xscale("symlog", linthresh=LINEAR_PERCENT, linscale=1.6)
    axes.set(ylim=(len(models) - 0.4, -0.6), xlim=(-6, 600))
    axes.set_xticks([0, 10, 20, 30, 40, 50, 100, 400], ["0", "10", "20", "30", "40", "50", "100", "400"])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(models)), models)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("Longer from the remote node (%)")
    for row, model in enumerate(models):
        if model in CLAIMED_PENALTIES:
            low, high = CLAIMED_PENALTIES[model]
            axes.barh(row, high - low, left=low, height=0.72, color="#dcdcdc", zorder=1)
        mine = plain[plain["model"] == model].set_index("host")
        for lane, host in enumerate(hosts):
            _, colour, marker = HOSTS[host]
            place = row - 0.24 + 0.16 * lane
            cell = mine.loc[host]
            axes.plot(cell[["low_percent", "high_percent"]], [place] * 2, color=colour, linewidth=1, zorder=2)
            axes.plot(cell["penalty_percent"], place, color=colour, marker=marker, markersize=4, zorder=3)
        for lane, real in enumerate(measured[measured["model"] == model].head(MEASURED_ROWS).to_dict("records")):
            place = row + 0.36 - 0.08 * lane
            axes.plot([real["low_percent"], real["high_percent"]], [place] * 2, color=style.INK, zorder=4)
            axes.plot(real["penalty_percent"], place, color=style.INK, marker="|", markersize=7, zorder=4)

    slowed = plain[(plain["host"] == "l40s_claimed") & (plain["penalty_percent"] < 1)]
    slower = " or ".join(STAGES[name] for name in dict.fromkeys(slowed["bound_remote"]))
    title = (
        f"Copies slowed 1.47 times cost {len(slowed)} of {len(models)} models nothing: {slower} takes longer"
        if len(slowed)
        else "Slower copies cost every model something"
    )
    words = f"{len(measured)} measured" if len(measured) else "not measured: no host with a GPU and two nodes"
    keys = [
        Patch(color="#dcdcdc", label="claimed"),
        *(Line2D([], [], color=colour, marker=marker, markersize=4, linestyle="none", label=name)
          for name, colour, marker in (HOSTS[host] for host in hosts)),
        *([Line2D([], [], color=style.INK, marker="|", label="measured, 95 %")] if len(measured) else []),
    ]  # fmt: skip
    style.frame(figure, title, f"n = {len(plain)} forecasts, fp32; {words}.", keys=keys, columns=2)
    caption = (
        f"How much longer a sample takes when its host buffers lie on the remote node, for {len(models)} models. "
        "Grey: what the guide claims. Points: the pipeline of four overlapping stages, with the copy rates of "
        "each host, compute and launching as forecast (line: their 80 % intervals). Black: measured, memory "
        f"or memory and CPU moved, with 95 % interval; {words}. "
        f"The axis is linear up to {LINEAR_PERCENT} %, logarithmic beyond."
    )
    worst = plain.sort_values("penalty_percent").iloc[-1]
    alt = (
        f"{title}. Largest forecast: {significant(worst['penalty_percent'])} % for {worst['model']} on "
        f"{HOSTS[worst['host']][0]}; {words}."
    )
    columns = [
        "host",
        "model",
        "dtype",
        "penalty_percent",
        "low_percent",
        "high_percent",
        "bound_local",
        "bound_remote",
    ]
    return style.Picture(figure, plain[columns], title, caption, alt, len(plain))
