"""Error of bf16 matrix products against their measured time, each GPU generation left out.

Beside it the noise of measurement.
"""

import numpy as np
import pandas as pd

from tilecast.evaluate.findings import mean_errors, noise_floor
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/modern/sizes.csv": "half_precision.sizes", "results/modern/noise.csv": "half_precision.noise"}
GROUP, TITLE, ORDER = "Modern GPUs", "Error and kernel size", 150

FEWEST = 30  # calls of an octave that is drawn


def draw(sizes: pd.DataFrame, noise: pd.DataFrame) -> style.Picture:
    """A panel a generation, a line a predictor, the frameworks' own disagreement shaded."""
    if sizes.empty:
        return style.empty_panel(TITLE, "the wheel of kernel timings was not fetched")
    lines = mean_errors(sizes, ["generation", "predictor", "from_ms"])
    lines = lines[lines["n"] >= FEWEST]
    generations = list(dict.fromkeys(sizes["generation"]))
    predictors = naming.ordered(naming.PREDICTORS, lines["predictor"])
    floor = noise_floor(noise)
    figure, panels = style.grid(len(generations), len(generations), 1.7, sharex=True, sharey=True)
    for generation, axes in zip(generations, panels, strict=True):
        part = lines[lines["generation"] == generation]
        for name in predictors:
            mine = part[part["predictor"] == name].sort_values("from_ms")
            look = style.marks(name) | {"markersize": 3}
            axes.plot(mine["from_ms"] * np.sqrt(2), mine["mape_percent"], linewidth=1, **look)
        style.plain_log(axes.xaxis)
        axes.set_xticks([0.01, 1], labels=["0.01", "1"])
        axes.set_ylim(0, 100)
        axes.axhspan(0, floor, color=style.FAINT, linewidth=0)
        axes.grid(axis="y")
        axes.set_title(generation, fontsize=style.MINOR_PT, pad=2)
    panels[0].set_ylabel("Error (%)")
    panels[len(panels) // 2].set_xlabel("Measured time (ms)")
    return style.finish(figure, lines, _finding(lines[lines["predictor"] == "tilecast"], floor), predictors)


def _finding(ours: pd.DataFrame, floor: float) -> style.Finding:
    """Tilecast's error on the shortest products and on the long ones."""
    means = [
        float(mean_errors(part, ["predictor"])["mape_percent"].iloc[0])
        for part in (ours[ours["from_ms"] < 0.015], ours[ours["from_ms"] >= 0.25])
    ]
    title = (
        f"On an unmeasured generation, forecasts of products under 0.016 ms err by {style.percent(means[0], 2)}, "
        f"of those from 0.25 ms on by {style.percent(means[1], 2)}"
    )
    n = int(ours["n"].sum())
    note = (
        f"n = {n:,} bf16 products, each generation left out in turn. Shaded: how far frameworks lie apart on the "
        f"same library kernel, {style.percent(floor, 2)} on average. Octaves of under {FEWEST} calls: not shown."
    )
    caption = (
        f"Mean absolute percentage error of {n:,} bf16 matrix products against their measured time, by octaves, "
        "each GPU generation left out in turn; shaded: the frameworks' mean disagreement on one kernel."
    )
    return style.Finding(title, note, caption, f"{title}. Noise floor {style.percent(floor, 2)}.", n)
