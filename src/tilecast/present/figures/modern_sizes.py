"""Error against a kernel's length, with the generation left out: bf16 products."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/modern/sizes.csv": None, "results/modern/noise.csv": None}
GROUP = "Modern GPUs"
TITLE = "Error and kernel size"
ORDER = 150
CAPTION = (
    "Error of bf16 matrix products against their measured time, each GPU generation left out, beside the noise "
    "of measurement."
)


def draw(sizes: pd.DataFrame, noise: pd.DataFrame) -> style.Picture:
    """A panel a generation, a line a predictor, the frameworks' own disagreement shaded."""
    if sizes.empty:
        return style.empty_panel("Error and kernel size", "the wheel of kernel timings was not fetched")
    keys = ["generation", "predictor", "from_ms"]
    weighted = sizes.assign(sum=sizes["mape_percent"] * sizes["n"]).groupby(keys, sort=False)
    lines = weighted.agg(n=("n", "sum"), sum=("sum", "sum")).reset_index()
    lines["mape_percent"] = lines.pop("sum") / lines["n"]
    lines = lines[lines["n"] >= 30]
    generations = list(dict.fromkeys(sizes["generation"]))
    predictors = naming.ordered(naming.PREDICTORS, lines["predictor"])
    floor = noise[(noise["family"] == "gemm") & (noise["dtype"] == "bf16")]["mean_percent"].mean()
    figure = style.canvas(1.7)
    panels = figure.subplots(1, len(generations), squeeze=False, sharex=True, sharey=True)
    for place, axes in enumerate(panels.flatten()):
        part = lines[lines["generation"] == generations[place]]
        for name in predictors:
            mine = part[part["predictor"] == name].sort_values("from_ms")
            axes.plot(
                mine["from_ms"] * np.sqrt(2), mine["mape_percent"], lw=1, **style.marks(name) | {"markersize": 3}
            )
        style.plain_log(axes.xaxis)
        axes.set_xticks([0.01, 1], labels=["0.01", "1"])
        axes.set_ylim(0, 100)
        axes.axhspan(0, floor, color=style.FAINT, linewidth=0)
        axes.grid(axis="y")
        axes.set_title(generations[place], fontsize=style.MINOR_PT, pad=2)
        if place == 0:
            axes.set_ylabel("Error (%)")
        if place == len(generations) // 2:
            axes.set_xlabel("Measured time (ms)")
    mine = lines[lines["predictor"] == "tilecast"]
    short = mine[mine["from_ms"] < 0.015]
    long = mine[mine["from_ms"] >= 0.25]
    means = [float((part["mape_percent"] * part["n"]).sum() / part["n"].sum()) for part in (short, long)]
    title = (
        f"On an unmeasured generation, forecasts of products under 0.016 ms err by "
        f"{naming.significant(means[0], 2)} %, of those from 0.25 ms on by {naming.significant(means[1], 2)} %"
    )
    n = int(lines[lines["predictor"] == "tilecast"]["n"].sum())
    style.frame(
        figure,
        title,
        f"n = {n:,} bf16 products, each generation left out in turn. Shaded: how far frameworks lie apart on the "
        f"same library kernel, {naming.significant(floor, 2)} % on average. Octaves of under 30 calls: not shown.",
        predictors,
    )
    caption = (
        f"Mean absolute percentage error of {n:,} bf16 matrix products against their measured time, by octaves, "
        "each GPU generation left out in turn; shaded: the frameworks' mean disagreement on one kernel."
    )
    return style.Picture(
        figure, lines, title, caption, f"{title}. Noise floor {naming.significant(floor, 2)} %.", n
    )
