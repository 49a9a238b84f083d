"""Median throughput of every GPU from every node."""

import numpy as np
import pandas as pd

from tilecast.present.figures import style
from tilecast.tables.naming import significant

TABLES = {
    "results/numa/record/runs.csv": "locality.runs",
    "results/numa/record/comparison.csv": "locality.comparison",
}
GROUP, TITLE, ORDER = "Locality", "GPU and node", 330

PANELS, ACROSS = 6, 2


def median_rates(done: pd.DataFrame) -> pd.DataFrame:
    """Median throughput by model, GPU and node, and how much slower it is than from the GPU's best node."""
    medians = done.groupby(["model", "gpu", "place"])["samples_per_s"].median().reset_index()
    best = medians.groupby(["model", "gpu"])["samples_per_s"].transform("max")
    return medians.assign(slower_percent=100 * (1 - medians["samples_per_s"] / best))


def draw(runs: pd.DataFrame, comparison: pd.DataFrame) -> style.Picture:
    """A panel a model: rows GPUs, columns nodes; darker is slower than the GPU's best, the figure is samples/s."""
    done = runs[(runs["status"] == "ok") & (runs["dtype"] == "fp32") & ~runs["compiled"]]
    nodes = zip(done["cpu_node"], done["memory_node"])
    done = done.assign(place=[str(cpu) if cpu == memory else f"{cpu}/{memory}" for cpu, memory in nodes])
    if done["place"].nunique() < 2:
        reasons = comparison["reason"].dropna()
        why = f"not testable here: {reasons.iloc[0]}" if len(reasons) else "runs from one node only"
        return style.empty_panel(TITLE, why)
    medians = median_rates(done)
    fastest = medians.groupby("model")["samples_per_s"].max()
    models = list(fastest.sort_values(ascending=False).index)[:PANELS]
    gpus, places = (sorted(set(medians[name])) for name in ("gpu", "place"))
    figure, panels = style.grid(len(models), ACROSS, 0.26 * len(gpus) + 0.5, sharex=True, sharey=True)
    for axes, model in zip(panels, models, strict=True):
        mine = medians[medians["model"] == model].pivot(index="gpu", columns="place").reindex(gpus)
        slower, rates = (
            mine[name].reindex(columns=places).to_numpy() for name in ("slower_percent", "samples_per_s")
        )
        drawn = axes.imshow(slower, cmap="Blues", vmin=0, vmax=60, aspect="auto")
        axes.set_title(model, pad=2)
        axes.set_xticks(range(len(places)), places)
        axes.set_yticks(range(len(gpus)), [f"GPU {gpu}" for gpu in gpus])
        axes.tick_params(length=0)
        for (row, column), rate in np.ndenumerate(rates):
            if rate == rate:
                look: style.Look = {"ha": "center", "va": "center", "fontsize": style.MINOR_PT - 1}
                shade = "white" if slower[row, column] > 35 else style.INK
                axes.text(column, row, significant(rate), color=shade, **look)
    style.label_lowest(panels, ACROSS, "Node")
    figure.colorbar(drawn, ax=figure.axes, label="Slower than the best node (%)", shrink=0.8)
    return style.finish(figure, medians, _finding(medians, len(done), len(models)))


def _finding(medians: pd.DataFrame, n: int, models: int) -> style.Finding:
    """Where a node costs most."""
    worst = medians.sort_values("slower_percent").iloc[-1]
    title = (
        f"At worst a node costs {style.percent(worst['slower_percent'])} of throughput: "
        f"{worst['model']} on GPU {worst['gpu']} from node {worst['place']}"
    )
    note = f"n = {n} runs. Node: of CPU and memory, or CPU/memory. In the cells: median samples per second."
    caption = (
        f"Median throughput of {n} runs by GPU and node, for {models} models. Darker: slower than "
        "that GPU's best node."
    )
    return style.Finding(title, note, caption, f"{title}.", n)
