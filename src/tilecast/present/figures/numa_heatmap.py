"""Throughput of every GPU from every pair of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.present.figures import style
from tilecast.tables.naming import significant

if TYPE_CHECKING:
    import pandas as pd

TABLES = {
    "results/numa/record/runs.csv": "locality.runs",
    "results/numa/record/comparison.csv": "locality.comparison",
}
GROUP = "Locality"
TITLE = "GPU and node"
ORDER = 330
CAPTION = "Median throughput of every GPU from every node."

PANELS = 6
ACROSS = 2


def draw(runs: pd.DataFrame, comparison: pd.DataFrame) -> style.Picture:
    """A panel a model: rows GPUs, columns nodes; darker is slower than the GPU's best, the figure is samples/s."""
    done = runs[(runs["status"] == "ok") & (runs["dtype"] == "fp32") & ~runs["compiled"]]
    done = done.assign(
        place=[
            str(cpu) if cpu == memory else f"{cpu}/{memory}"
            for cpu, memory in zip(done["cpu_node"], done["memory_node"])
        ]
    )
    if done["place"].nunique() < 2:
        reasons = comparison["reason"].dropna()
        why = f"not testable here: {reasons.iloc[0]}" if len(reasons) else "runs from one node only"
        return style.empty_panel("GPU and node", why)
    medians = done.groupby(["model", "gpu", "place"])["samples_per_s"].median().reset_index()
    best = medians.groupby(["model", "gpu"])["samples_per_s"].transform("max")
    medians["slower_percent"] = 100 * (1 - medians["samples_per_s"] / best)
    fastest = medians.groupby("model")["samples_per_s"].max()
    models = list(fastest.sort_values(ascending=False).index)[:PANELS]
    gpus, places = (sorted(set(medians[name])) for name in ("gpu", "place"))
    lines = -(-len(models) // ACROSS)
    figure = style.canvas(lines * (0.26 * len(gpus) + 0.5))
    panels = figure.subplots(lines, ACROSS, squeeze=False, sharex=True, sharey=True)
    drawn = None
    for axes in panels.flatten()[len(models) :]:
        axes.set_axis_off()
    for index, (axes, model) in enumerate(zip(panels.flatten(), models)):
        mine = medians[medians["model"] == model]
        grid = mine.pivot(index="gpu", columns="place", values="slower_percent").reindex(gpus, columns=places)
        rates = mine.pivot(index="gpu", columns="place", values="samples_per_s").reindex(gpus, columns=places)
        drawn = axes.imshow(grid, cmap="Blues", vmin=0, vmax=60, aspect="auto")
        axes.set_title(model, pad=2)
        axes.set_xticks(range(len(places)), places)
        axes.set_yticks(range(len(gpus)), [f"GPU {gpu}" for gpu in gpus])
        axes.tick_params(length=0)
        for row in range(len(gpus)):
            for column in range(len(places)):
                rate, slower = rates.iloc[row, column], grid.iloc[row, column]
                if rate == rate:
                    axes.text(
                        column, row, significant(rate), ha="center", va="center", fontsize=style.MINOR_PT - 1,
                        color="white" if slower > 35 else style.INK,
                    )  # fmt: skip
        if index // ACROSS == lines - 1:
            axes.set_xlabel("Node")
    if drawn is not None:
        figure.colorbar(drawn, ax=panels, label="Slower than the best node (%)", shrink=0.8)
    worst = medians.sort_values("slower_percent").iloc[-1]
    title = (
        f"At worst a node costs {significant(worst['slower_percent'])} % of throughput: "
        f"{worst['model']} on GPU {worst['gpu']} from node {worst['place']}"
    )
    note = (
        f"n = {len(done)} runs. Node: of CPU and memory, or CPU/memory. In the cells: median samples per second."
    )
    style.frame(figure, title, note)
    caption = (
        f"Median throughput of {len(done)} runs by GPU and node, for {len(models)} models. Darker: slower than "
        "that GPU's best node."
    )
    return style.Picture(figure, medians, title, caption, f"{title}.", len(done))
