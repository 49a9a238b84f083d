"""Two batches on their way through the pipeline, as the profiler saw them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tilecast.present.figures import style
from tilecast.tables.naming import significant

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/numa/record/timeline.csv": "locality.timeline", "results/numa/record/runs.csv": "locality.runs"}
GROUP = "Locality"
TITLE = "Two batches"
ORDER = 320
CAPTION = "Two batches on their way through the pipeline, as the profiler recorded them."

LANES = {"h2d": "copy in", "compute": "compute", "d2h": "copy out"}
BATCHES = ("#0072B2", "#E69F00")
PANELS = 3


def draw(timeline: pd.DataFrame, runs: pd.DataFrame) -> style.Picture:
    """A panel a cell, a lane a stage; the two batches in two colours."""
    cells = list(dict.fromkeys(timeline["cell"]))[:PANELS]
    if not cells:
        return style.empty_panel("Two batches", "no run was profiled")
    named = runs.drop_duplicates("cell").set_index("cell")
    figure = style.canvas(0.85 * len(cells) + 0.25)
    panels = figure.subplots(len(cells), 1, squeeze=False).flatten()
    shares = []
    for axes, cell in zip(panels, cells):
        mine = timeline[timeline["cell"] == cell]
        batches = list(dict.fromkeys(mine["batch"]))
        for lane, stage in enumerate(LANES):
            for batch, colour in zip(batches, BATCHES):
                part = mine[(mine["stage"] == stage) & (mine["batch"] == batch)]
                spans = list(zip(part["start_ms"], part["end_ms"] - part["start_ms"]))
                axes.broken_barh(spans, (lane - 0.36, 0.72), facecolors=colour, edgecolors=colour, linewidth=0.8)
        axes.set(ylim=(len(LANES) - 0.5, -0.5), xlim=(0, mine["end_ms"].max()))
        axes.set_yticks(range(len(LANES)), list(LANES.values()))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.tick_params(axis="y", length=0)
        axes.set_title(f"{named.loc[cell, 'model']}, {named.loc[cell, 'device_name']}", pad=2)
        shares.append(_together(mine))
    panels[-1].set_xlabel("Milliseconds")
    device = str(runs.loc[runs["status"] == "ok", "device"].iloc[0])
    share = sum(shares) / len(shares)
    where = "On a GPU" if device == "cuda" else "On the CPU device"
    title = (
        f"{where} copying and computing overlap {significant(share)} % of the time"
        if share
        else f"{where} one stage follows the other: nothing overlaps"
    )
    keys = [Patch(color=colour, label=words) for colour, words in zip(BATCHES, ("one batch", "the next"))]
    n = len(timeline[timeline["cell"].isin(cells)])
    style.frame(figure, title, f"n = {n} events of {len(cells)} profiled runs.", keys=keys, columns=2)
    caption = (
        f"Two batches in the middle of {len(cells)} profiled runs. Lanes: copy to the device, compute, copy back. "
        + ("A CPU stands in for the GPU here: its stages cannot overlap." if device == "cpu" else "")
    )
    return style.Picture(figure, timeline[timeline["cell"].isin(cells)], title, caption, f"{title}.", n)


def _together(events: pd.DataFrame) -> float:
    """Percent of the drawn stretch during which a copy and a kernel ran at once."""
    edges = sorted({*events["start_ms"], *events["end_ms"]})
    both = 0.0
    for start, end in pairwise(edges):
        running = events[(events["start_ms"] <= start) & (events["end_ms"] >= end)]
        both += (end - start) * ({"compute"} < set(running["stage"]))
    return 100 * both / (edges[-1] - edges[0]) if len(edges) > 1 else 0.0
