"""One step of the training example as simulated: each pass of each microbatch through each pipeline stage."""

import numpy as np
import pandas as pd
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/parallel/study/timeline.csv": "multigpu.timeline"}
GROUP, TITLE, ORDER = "Many GPUs", "Timeline of a step", 190

FORWARD, BACKWARD = 0, 1
COLOURS = {(FORWARD, 0): "#56B4E9", (FORWARD, 1): "#0072B2", (BACKWARD, 0): "#E69F00", (BACKWARD, 1): "#D55E00"}
WORDS = {FORWARD: "forward", BACKWARD: "backward"}


def draw(timeline: pd.DataFrame) -> style.Picture:
    """A row a pipeline stage, a box a pass of one microbatch through one chunk of its layers."""
    if timeline.empty:
        return style.empty_panel(TITLE, "the study holds no pipeline")
    stages, chunks = (int(timeline[name].max()) + 1 for name in ("stage", "chunk"))
    end = float(timeline["end_ms"].max())
    figure = style.canvas(2 * (0.16 * stages + 0.42))
    whole, start = figure.subplots(2, 1, sharey=True)
    keys = []
    for (kind, odd), colour in COLOURS.items():
        part = timeline[(timeline["kind"] == kind) & (timeline["chunk"] % 2 == odd)]
        if part.empty:
            continue
        words = WORDS[kind] + (f", {'odd' if odd else 'even'} chunks" if chunks > 1 else "")
        keys.append(Patch(facecolor=colour, label=words))
        early = part[part["start_ms"] < end / 6]
        boxes = style.boxes(early["start_ms"], early["end_ms"], early["stage"] - 0.4, early["stage"] + 0.4)
        whole.add_patch(PathPatch(_lines(part), facecolor="none", edgecolor=colour, linewidth=8, capstyle="butt"))
        start.add_patch(PathPatch(boxes, facecolor=colour, edgecolor="white", linewidth=0.35))
    for axes, limit in ((whole, end), (start, end / 6)):
        axes.set_xlim(0, limit)
        style.rows(axes, [str(stage + 1) for stage in range(stages)], margin=0.5)
        axes.set_ylabel("Stage")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e3:g}")
    start.set_xlabel("Seconds since the step began (above: the whole step, below: its first sixth)")
    return style.finish(figure, timeline, _finding(timeline, stages, chunks, end), keys=keys, columns=2)


def _finding(timeline: pd.DataFrame, stages: int, chunks: int, end: float) -> style.Finding:
    """The share of the step in which stages work."""
    n = len(timeline)
    busy = float((timeline["end_ms"] - timeline["start_ms"]).sum()) / (stages * end)
    microbatches = int(timeline["microbatch"].nunique())
    title = f"The {stages} stages of the pipeline work {style.percent(100 * busy)} of a step"
    note = (
        f"{microbatches} microbatches, {chunks} chunk{'s' if chunks > 1 else ''} of layers a stage. White: "
        f"waiting. n = {n:,} simulated events; the exchange of gradients follows. Not measured."
    )
    caption = (
        f"One training step of the example as simulated: {stages} pipeline stages, {microbatches} microbatches, "
        f"{chunks} chunks of layers a stage, {n:,} events. Below: the first sixth, where the pipeline "
        "fills. Collectives within a pass are part of its box."
    )
    return style.Finding(
        title, note, caption, f"{title}. The last pass ends after {naming.significant(end / 1e3)} s.", n
    )


def _lines(events: pd.DataFrame) -> Path:
    """All passes as thick lines of one path: half the bytes of boxes, a twentieth of one patch each."""
    left, right, stage = (events[name].to_numpy(dtype=float) for name in ("start_ms", "end_ms", "stage"))
    ends = np.stack([left, stage, right, stage], axis=1)
    return Path(ends.reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(events)))
