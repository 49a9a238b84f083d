"""Where the time of a step of the training example goes, and what its fullest GPU holds.

For the usual layout and the best found.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/parallel/study/parts.csv": "multigpu.step_parts"}
GROUP, TITLE, ORDER = "Many GPUs", "Parts of a step", 180

HATCH = "////"  # of parts of the memory: a colour alone would mean two things
# colour -> (parts of the time, their name; parts of the memory, their name): alike things share a colour
PARTS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], str]] = {
    "#0072B2": (("compute",), "kernels", ("weights",), "weights"),
    "#D55E00": (("tp",), "tensor parallel", ("activations",), "activations"),
    "#E69F00": (("dp",), "gradients", ("gradients",), "gradients"),
    "#009E73": (("optimizer",), "optimizer", ("optimizer",), "its states"),
    "#F0E442": (("pp",), "between stages", ("buffers",), "buffers"),
    "#C4C4C4": (("bubble", "other stages"), "bubble", ("context",), "driver"),
    "#56B4E9": (("recompute",), "recomputing", ("kv_cache",), "keys, values"),
    "#CC79A7": (("ep",), "experts", ("logits",), "logits"),
    "#3D3D3D": (("host",), "waiting for the host", (), ""),
    "#8C564B": (("cp",), "context parallel", ("fragmentation",), "lost by allocator"),
}


def draw(parts: pd.DataFrame) -> style.Picture:
    """A row a layout of the training example: its step by part (left), its fullest GPU's memory (right)."""
    named = parts.loc[parts["what"] == "memory_gb", "example"]
    if named.empty:
        return style.empty_panel(TITLE, "the study holds no training example")
    example = str(named.iloc[0])
    mine = parts[parts["example"] == example]
    layouts = mine.drop_duplicates("place").sort_values("place")["layout"].tolist()
    figure = style.canvas(0.36 * len(layouts) + 0.45)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
    time, memory = (mine[mine["what"] == what] for what in ("time_ms", "memory_gb"))
    totals = _stacked(left, time, 0, len(layouts), 1e-3)
    held = _stacked(right, memory, 2, len(layouts), 1.0)
    style.rows(left, [_label(place, layout) for place, layout in enumerate(layouts)])
    right.tick_params(axis="y", length=0)
    left.set_xlabel("Step time (s)")
    right.set_xlabel("Fullest GPU (GB)")
    for axes, sums, digits in ((left, totals, 3), (right, held, 2)):
        axes.set_xlim(0, max(sums) * 1.2)
        for row, value in enumerate(sums):
            axes.text(value + max(sums) * 0.02, row, naming.significant(value, digits), va="center", fontsize=8)
    keys = _keys(set(time["part"]), set(memory["part"]))
    return style.finish(figure, mine.reset_index(drop=True), _finding(example, layouts, totals, held), keys=keys)


def _finding(example: str, layouts: list[str], totals: list[float], held: list[float]) -> style.Finding:
    """The step time of the best layout beside the usual one's."""
    best = min(totals[1:], default=totals[0])
    title = (
        f"{example}: the best layout takes {naming.significant(best)} s a step, "
        f"the usual one {naming.significant(totals[0])} s"
    )
    note = (
        f"Forecasts, not measured. Top: the usual layout; below it the {len(layouts) - 1} best of the search, all "
        "that divide and fit tried. Plain colours: parts of the time; hatched: parts of the memory."
    )
    caption = (
        f"{example}: forecast step time by part (left; the stage that ends last) and memory by part (right; the "
        f"fullest GPU), of the usual layout and of the {len(layouts) - 1} best found. Nothing here was measured."
    )
    words = "; ".join(
        f"{layout}: {naming.significant(total)} s, {naming.significant(gb, 2)} GB"
        for layout, total, gb in zip(layouts, totals, held, strict=True)
    )
    return style.Finding(title, note, caption, f"{title}. {words}.", len(layouts))


def _label(place: int, layout: str) -> str:
    """The layout's short name on two lines; the first is the usual one."""
    words = layout.split(" ")
    half = -(-len(words) // 2)
    head = "usual: " if place == 0 else f"{place}: "
    return head + " ".join(words[:half]) + "\n" + " ".join(words[half:])


def _stacked(axes: Axes, parts: pd.DataFrame, which: int, rows: int, scale: float) -> list[float]:
    """Horizontal stacks, one a row; their lengths. `which`: 0 for parts of the time, 2 for those of the memory."""
    ends = [0.0] * rows
    axes.grid(axis="x")
    look: style.Look = {"height": 0.62, "edgecolor": "white", "linewidth": 0.4, "hatch": HATCH if which else ""}
    for colour, names in PARTS.items():
        chosen = parts[parts["part"].isin(names[which])]
        for row, value in chosen[["place", "value"]].itertuples(index=False):
            axes.barh(row, value * scale, left=ends[row], color=colour, **look)
            ends[row] += value * scale
    return ends


def _keys(times: set[str], held: set[str]) -> list[Patch]:
    """The key of the parts shown: those of the time plain, then those of the memory hatched."""
    return [
        Patch(facecolor=colour, edgecolor="white", label=names[which + 1], hatch=HATCH if which else "")
        for which, shown in ((0, times), (2, held))
        for colour, names in PARTS.items()
        if shown & set(names[which])
    ]
