"""One step of a pipeline, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/parallel/study/timeline.csv": None}
GROUP = "Many GPUs"
TITLE = "Timeline of a step"
ORDER = 190
CAPTION = (
    "One step of the training example as simulated: every pass of every microbatch through every pipeline stage."
)

FORWARD, BACKWARD = 0, 1
COLOURS = {(FORWARD, 0): "#56B4E9", (FORWARD, 1): "#0072B2", (BACKWARD, 0): "#E69F00", (BACKWARD, 1): "#D55E00"}
WORDS = {FORWARD: "forward", BACKWARD: "backward"}


def draw(timeline: pd.DataFrame) -> style.Picture:
    """A row a pipeline stage, a box a pass of one microbatch through one chunk of its layers."""
    if timeline.empty:
        return style.empty_panel("Timeline", "the study holds no pipeline")
    stages = int(timeline["stage"].max()) + 1
    chunks = int(timeline["chunk"].max()) + 1
    end = float(timeline["end_ms"].max())
    figure = style.canvas(2 * (0.16 * stages + 0.42))
    whole, start = figure.subplots(2, 1, sharey=True)
    shown = {}
    for (kind, odd), colour in COLOURS.items():
        part = timeline[(timeline["kind"] == kind) & (timeline["chunk"] % 2 == odd)]
        if part.empty:
            continue
        shown[kind, odd] = colour
        early = part[part["start_ms"] < end / 6]
        whole.add_patch(PathPatch(_lines(part), facecolor="none", edgecolor=colour, linewidth=8, capstyle="butt"))
        start.add_patch(PathPatch(_boxes(early), facecolor=colour, edgecolor="white", linewidth=0.35))
    for axes, limit in ((whole, end), (start, end / 6)):
        axes.set(xlim=(0, limit), ylim=(stages - 0.5, -0.5))
        axes.set_yticks(range(stages), [str(stage + 1) for stage in range(stages)])
        axes.set_ylabel("Stage")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e3:g}")
    start.set_xlabel("Seconds since the step began (above: the whole step, below: its first sixth)")

    busy = float((timeline["end_ms"] - timeline["start_ms"]).sum()) / (stages * end)
    microbatches = int(timeline["microbatch"].nunique())
    title = f"The {stages} stages of the pipeline work {naming.significant(100 * busy)} % of a step"
    handles = [
        Patch(
            facecolor=colour, label=WORDS[kind] + (f", {'odd' if chunk else 'even'} chunks" if chunks > 1 else "")
        )
        for (kind, chunk), colour in sorted(shown.items())
    ]
    style.frame(
        figure,
        title,
        f"{microbatches} microbatches, {chunks} chunk{'s' if chunks > 1 else ''} of layers a stage. White: "
        f"waiting. n = {len(timeline):,} simulated events; the exchange of gradients follows. Not measured.",
        keys=handles,
        columns=2,
    )
    caption = (
        f"One training step of the example as simulated: {stages} pipeline stages, {microbatches} microbatches, "
        f"{chunks} chunks of layers a stage, {len(timeline):,} events. Below: the first sixth, where the pipeline "
        "fills. Collectives within a pass are part of its box."
    )
    alt = f"{title}. The last pass ends after {naming.significant(end / 1e3)} s."
    return style.Picture(figure, timeline, title, caption, alt, len(timeline))


def _lines(events: pd.DataFrame) -> Path:
    """All passes as thick lines of one path: half the bytes of boxes, a twentieth of one patch each."""
    left, right, stage = (events[name].to_numpy(dtype=float) for name in ("start_ms", "end_ms", "stage"))
    ends = np.stack([left, stage, right, stage], axis=1)
    return Path(ends.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(events)))


def _boxes(events: pd.DataFrame) -> Path:
    """All boxes as one path."""
    left, right = events["start_ms"].to_numpy(), events["end_ms"].to_numpy()
    top, bottom = events["stage"].to_numpy() - 0.4, events["stage"].to_numpy() + 0.4
    corners = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1)
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(events))
    return Path(corners.reshape(-1, 2), codes)
