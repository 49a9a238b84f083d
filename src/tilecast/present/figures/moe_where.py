"""Where expert prefetching wins at all: batch, rate of the link to the host, hit rate of the cache."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/moe/where.csv": None}
GROUP = "Experts"
TITLE = "Where prefetching wins"
ORDER = 270
PARAMS = ("focus",)
CAPTION = "Speedup from prefetching experts by batch, rate of the link to the host, and hit rate of the cache."

LINKS = {"PCIe 4": 24.8e9, "PCIe 5": 49.6e9}  # x16, at the share of the peak that is measured


def draw(where: pd.DataFrame, focus: str) -> style.Picture:
    """A panel a hit rate: gain by sequences a GPU (up) and rate of the link (right); the line is no gain."""
    rates = sorted(where["hit_rate"].unique())
    figure = style.canvas(3.5)
    panels = figure.subplots(-(-len(rates) // 2), 2, sharex=True, sharey=True).flatten()
    low, high = float(where["speedup"].min()), float(where["speedup"].max())
    norm = TwoSlopeNorm(1.0, min(low, 0.99), max(high, 1.01))
    mesh = None
    for panel, rate in zip(panels, rates, strict=False):
        grid = where[where["hit_rate"] == rate].pivot_table(
            index="tokens_per_gpu", columns="host_bytes_per_s", values="speedup"
        )
        x, y = grid.columns.to_numpy() / 1e9, grid.index.to_numpy()
        mesh = panel.pcolormesh(x, y, grid.to_numpy(), norm=norm, cmap="PuOr", shading="nearest", linewidth=0)
        mesh.set_edgecolor("face")
        if grid.to_numpy().min() < 1 < grid.to_numpy().max():
            panel.contour(x, y, grid.to_numpy(), levels=[1.0], colors=style.INK, linewidths=1.1)
        for name, value in LINKS.items():
            panel.axvline(value / 1e9, color=style.INK, linewidth=0.6, linestyle=":")
            if panel is panels[0]:
                panel.text(value / 1e9 * 1.04, y[-1], name, rotation=90, va="top", fontsize=style.MINOR_PT - 1)
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.set_xticks([10, 25, 50, 100, 200, 400], ["10", "25", "50", "100", "200", "400"])
        panel.set_yticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
        panel.minorticks_off()
        panel.set_title(f"Cache answers {rate:.0%}")
    for place, panel in enumerate(panels):
        if place >= len(panels) - 2:
            panel.set_xlabel("Host to GPU (GB/s)")
        if place % 2 == 0:
            panel.set_ylabel("Sequences a GPU")
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=list(panels), shrink=0.8, aspect=30)
        bar.set_label("Speedup from prefetching")

    best = where.iloc[int(where["speedup"].argmax())]
    share = 100 * float((where["speedup"] > 1).mean())
    nearest = where.iloc[(np.log(where["host_bytes_per_s"]) - np.log(LINKS["PCIe 4"])).abs().argsort()]
    at_link = nearest[nearest["host_bytes_per_s"] == nearest["host_bytes_per_s"].iloc[0]]
    winning = at_link[at_link["speedup"] > 1]["hit_rate"]
    words = f"only {winning.min():.0%} and more let" if len(winning) else "none lets"
    title = (
        f"Of the hit rates shown, {words} prefetching win over PCIe 4; the most it gains anywhere is "
        f"{naming.significant(high)} times"
    )
    note = (
        f"n = {len(where)} forecasts; the study's model and predictor, hybrid on {focus}. Line: no gain. Dotted: "
        "what x16 links deliver. With the same cache hiding transfers can gain at most a factor of 2."
    )
    style.frame(figure, title, note)
    caption = (
        f"Speedup from prefetching experts on {focus} by batch, link and hit rate; below 1 wrong prefetches take "
        f"more of the link than hidden ones save. {naming.significant(share)} % of the map gains; the most, "
        f"{naming.significant(best['speedup'])}, at a hit rate of {best['hit_rate']:.0%}, "
        f"{naming.significant(best['host_bytes_per_s'] / 1e9)} GB/s and {int(best['tokens_per_gpu'])} sequences a "
        "GPU."
    )
    return style.Picture(figure, where, title, caption, f"{title}. {caption}", len(where))
