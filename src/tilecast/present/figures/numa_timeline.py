"""Two batches on their way through the pipeline, as the profiler recorded them."""

from itertools import pairwise

import pandas as pd
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tilecast.present.figures import style

TABLES = {"results/numa/record/timeline.csv": "locality.timeline", "results/numa/record/runs.csv": "locality.runs"}
GROUP, TITLE, ORDER = "Locality", "Two batches", 320

LANES = {"h2d": "copy in", "compute": "compute", "d2h": "copy out"}
BATCHES = {"one batch": "#0072B2", "the next": "#E69F00"}
PANELS = 3


def overlap_percent(events: pd.DataFrame) -> float:
    """Percent of the drawn stretch during which a copy and a kernel ran at once."""
    edges = sorted({*events["start_ms"], *events["end_ms"]})
    both = 0.0
    for start, end in pairwise(edges):
        running = events[(events["start_ms"] <= start) & (events["end_ms"] >= end)]
        both += (end - start) * ({"compute"} < set(running["stage"]))
    return 100 * both / (edges[-1] - edges[0]) if len(edges) > 1 else 0.0


def draw(timeline: pd.DataFrame, runs: pd.DataFrame) -> style.Picture:
    """A panel a cell, a lane a stage; the two batches in two colours."""
    cells = list(dict.fromkeys(timeline["cell"]))[:PANELS]
    if not cells:
        return style.empty_panel(TITLE, "no run was profiled")
    named = runs.drop_duplicates("cell").set_index("cell")
    figure, panels = style.grid(len(cells), 1, 0.85, 0.25)
    for axes, cell in zip(panels, cells, strict=True):
        mine = timeline[timeline["cell"] == cell]
        batches = list(dict.fromkeys(mine["batch"]))
        for lane, stage in enumerate(LANES):
            for batch, colour in zip(batches, BATCHES.values()):
                part = mine[(mine["stage"] == stage) & (mine["batch"] == batch)]
                spans = list(zip(part["start_ms"], part["end_ms"] - part["start_ms"]))
                axes.broken_barh(spans, (lane - 0.36, 0.72), facecolors=colour, edgecolors=colour, linewidth=0.8)
        axes.set_xlim(0, mine["end_ms"].max())
        style.rows(axes, list(LANES.values()), margin=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_title(f"{named.loc[cell, 'model']}, {named.loc[cell, 'device_name']}", pad=2)
    panels[-1].set_xlabel("Milliseconds")
    keys = [Patch(color=colour, label=words) for words, colour in BATCHES.items()]
    shown = timeline[timeline["cell"].isin(cells)]
    device = str(runs.loc[runs["status"] == "ok", "device"].iloc[0])
    return style.finish(figure, shown, _finding(shown, cells, device), keys=keys, columns=2)


def _finding(shown: pd.DataFrame, cells: list[str], device: str) -> style.Finding:
    """The share of time in which copying and computing overlap."""
    share = sum(overlap_percent(shown[shown["cell"] == cell]) for cell in cells) / len(cells)
    where = "On a GPU" if device == "cuda" else "On the CPU device"
    title = (
        f"{where} copying and computing overlap {style.percent(share)} of the time"
        if share
        else f"{where} one stage follows the other: nothing overlaps"
    )
    note = f"n = {len(shown)} events of {len(cells)} profiled runs."
    caption = (
        f"Two batches in the middle of {len(cells)} profiled runs. Lanes: copy to the device, compute, copy back. "
        + ("A CPU stands in for the GPU here: its stages cannot overlap." if device == "cpu" else "")
    )
    return style.Finding(title, note, caption, f"{title}.", len(shown))
