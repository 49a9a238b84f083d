"""Layouts of the worked examples that can run: step time against memory, time per token against price.

With the Pareto fronts.
"""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {
    "results/parallel/study/search.csv": "multigpu.search",
    "results/parallel/study/serving.csv": "multigpu.served",
}
GROUP, TITLE, ORDER = "Many GPUs", "Pareto fronts", 200

RANKS = {1: "#999999", 2: "#E69F00", 4: "#009E73", 8: "#0072B2", 16: "#CC79A7", 32: "#56B4E9"}

# Beyond so many points they are drawn as squares: this factor to each side, its square up and down.
MANY, DOT = 200, 1.014


def draw(search: pd.DataFrame, serving: pd.DataFrame) -> style.Picture:
    """Left every layout of the training search, right every batch of the serving example; lines: Pareto fronts."""
    training = search[search["step_ms"].notna()]
    priced = serving[serving["usd_per_million_tokens"].notna()]
    if training.empty or priced.empty:
        return style.empty_panel(TITLE, "the study found no layout that can run")
    figure = style.canvas(2.3)
    left, right = figure.subplots(1, 2)
    _panel(left, training["step_ms"] / 1e3, training["memory_gb"], training)
    _panel(right, priced["tpot_ms"], priced["usd_per_million_tokens"], priced)
    left.set(xlabel="Step time (s)", ylabel="Memory of a GPU (GB)")
    right.set(xlabel="Time per output token (ms)", ylabel="$ per million tokens")
    ranks = sorted({int(rank) for part in (training, priced) for rank in part["tp"]})
    keys = [style.mark_key(f"TP {rank}", RANKS.get(rank, style.MUTED), ".", markersize=6) for rank in ranks]
    keys.append(style.line_key("front", style.INK, linewidth=1.0))
    data = training[["example", "place", "layout", "tp", "front", "step_ms", "memory_gb"]].merge(
        priced[["example", "layout", "sequences", "tp", "front", "tpot_ms", "usd_per_million_tokens"]], how="outer"
    )
    return style.finish(
        figure, data, _finding(training, priced, len(data)), keys=keys, columns=7, views=_views(ranks)
    )


def _views(ranks: list[int]) -> tuple[style.View, style.View]:
    """Layouts of training by time and memory, batches of serving by time and price."""
    groups = {str(rank): (f"TP {rank}", RANKS.get(rank, style.MUTED)) for rank in ranks}
    training = style.View(
        title="layouts of a training step",
        x=("step_ms", "Step time (ms)"),
        y=("memory_gb", "Memory of a GPU (GB)"),
        by="tp",
        groups=groups,
        words={"layout": "", "place": "place "},
        front="front",
    )
    serving = replace(
        training,
        title="layouts and batches of serving",
        x=("tpot_ms", "Time per output token (ms)"),
        y=("usd_per_million_tokens", "$ per million tokens"),
        words={"layout": "", "sequences": "requests at once: "},
    )
    return training, serving


def _finding(training: pd.DataFrame, priced: pd.DataFrame, n: int) -> style.Finding:
    """The two ends of the training search's Pareto front."""
    front = training[training["front"]].sort_values("step_ms")
    corners = front.iloc[[0, -1]][["step_ms", "memory_gb"]].to_numpy(dtype=float)
    ends = [f"{naming.significant(ms / 1e3)} s with {naming.significant(gb, 2)} GB" for ms, gb in corners]
    title = f"A training step takes from {ends[0]} a GPU to {ends[1]}: more memory, faster steps"
    note = (
        f"n = {int(training['feasible'].max()):,} layouts of a training step that can run (near ones drawn as one "
        f"point) and {len(priced)} batches of serving. Line: Pareto front. Forecasts, not measured."
    )
    caption = (
        "Layouts of the worked examples that can run. Left: step time against memory of the fullest GPU. Right: "
        "time per output token against dollars, for every layout and number of requests that fits. Colours: "
        f"tensor-parallel ranks (TP). Line: the Pareto front, {len(front)} and {priced['front'].sum()} layouts."
    )
    cheapest = priced.nsmallest(1, "usd_per_million_tokens").iloc[0]
    alt = (
        f"{title}. The cheapest serving: {cheapest['layout']} with {cheapest['sequences']} requests at once, "
        f"{naming.significant(float(cheapest['usd_per_million_tokens']))} dollars per million tokens."
    )
    return style.Finding(title, note, caption, alt, n)


def _dots(x: pd.Series, y: pd.Series) -> Path:
    """All points as one path of small squares on log axes: a third of the bytes of one marker each."""
    across, up = x.to_numpy(dtype=float), y.to_numpy(dtype=float)
    return style.boxes(across / DOT, across * DOT, up / DOT**2, up * DOT**2)


def _panel(axes: Axes, x: pd.Series, y: pd.Series, part: pd.DataFrame) -> None:
    """Points by tensor-parallel ranks, and the front."""
    for rank in sorted(set(part["tp"])):
        mine = part.index[part["tp"] == rank]
        colour = RANKS.get(int(rank), style.MUTED)
        if len(part) > MANY:
            axes.add_patch(PathPatch(_dots(x[mine], y[mine]), facecolor=colour, linewidth=0))
        else:
            look: style.Look = {"linestyle": "none", "marker": ".", "markersize": 7, "markeredgewidth": 0}
            axes.plot(x[mine], y[mine], color=colour, **look)
    front = x[part["front"]].sort_values().index
    axes.plot(x[front], y[front], color=style.INK, linewidth=1.0, drawstyle="steps-post")
    axes.autoscale_view()
    axes.grid()
    axes.set_title(str(part["example"].iloc[0]), fontsize=8, weight="bold", pad=3)
    for axis, values in ((axes.xaxis, x), (axes.yaxis, y)):
        style.plain_log(axis)
        style.round_ticks(axis, float(values.min()), float(values.max()))
