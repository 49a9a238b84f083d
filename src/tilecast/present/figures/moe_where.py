"""Speedup from prefetching experts by batch, rate of the link to the host, and hit rate of the cache."""

import math

import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from tilecast.present.figures import style
from tilecast.tables.naming import significant

TABLES = {"results/moe/where.csv": "moe.where"}
GROUP, TITLE, ORDER = "Experts", "Where prefetching wins", 270
PARAMS = ("focus",)

LINKS = {"PCIe 4": 24.8e9, "PCIe 5": 49.6e9}  # x16, at the share of the peak that is measured
GB_PER_S, SEQUENCES = (10, 25, 50, 100, 200, 400), (1, 4, 16, 64, 256)  # labelled on the axes


def draw(where: pd.DataFrame, focus: str) -> style.Picture:
    """A panel a hit rate: gain by sequences a GPU (up) and rate of the link (right); the line is no gain."""
    rates = sorted(where["hit_rate"].unique())
    figure = style.canvas(3.5)
    panels = figure.subplots(-(-len(rates) // 2), 2, sharex=True, sharey=True).flatten()
    low, high = float(where["speedup"].min()), float(where["speedup"].max())
    norm = TwoSlopeNorm(1.0, min(low, 0.99), max(high, 1.01))
    for panel, rate in zip(panels, rates, strict=False):
        part = where[where["hit_rate"] == rate]
        gains = part.pivot(index="tokens_per_gpu", columns="host_bytes_per_s", values="speedup")
        x, y, speedup = gains.columns.to_numpy() / 1e9, gains.index.to_numpy(), gains.to_numpy()
        mesh = panel.pcolormesh(x, y, speedup, norm=norm, cmap="PuOr", shading="nearest", linewidth=0)
        mesh.set_edgecolor("face")
        if speedup.min() < 1 < speedup.max():
            panel.contour(x, y, speedup, levels=[1.0], colors=style.INK, linewidths=1.1)
        for name, value in LINKS.items():
            panel.axvline(value / 1e9, color=style.INK, linewidth=0.6, linestyle=":")
            if panel is panels[0]:
                panel.text(value / 1e9 * 1.04, y[-1], name, rotation=90, va="top", fontsize=style.MINOR_PT - 1)
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.set_xticks(GB_PER_S, [str(tick) for tick in GB_PER_S])
        panel.set_yticks(SEQUENCES, [str(tick) for tick in SEQUENCES])
        panel.minorticks_off()
        panel.set_title(f"Cache answers {rate:.0%}")
    for panel in panels[-2:]:
        panel.set_xlabel("Host to GPU (GB/s)")
    for panel in panels[::2]:
        panel.set_ylabel("Sequences a GPU")
    figure.colorbar(mesh, ax=list(panels), shrink=0.8, aspect=30).set_label("Speedup from prefetching")
    return style.finish(figure, where, _finding(where, focus))


def _finding(where: pd.DataFrame, focus: str) -> style.Finding:
    """From which hit rate on prefetching wins over PCIe 4, and the most it gains anywhere."""
    best = where.iloc[int(where["speedup"].argmax())]
    gains = where["speedup"] > 1
    distance = (where["host_bytes_per_s"] / LINKS["PCIe 4"]).map(math.log).abs()
    winning = where["hit_rate"][gains & (distance == distance.min())]
    share = style.percent(100 * gains.sum() / len(gains))
    words = f"only {winning.min():.0%} and more let" if len(winning) else "none lets"
    title = (
        f"Of the hit rates shown, {words} prefetching win over PCIe 4; the most it gains anywhere is "
        f"{significant(best['speedup'])} times"
    )
    note = (
        f"n = {len(where)} forecasts; the study's model and predictor, hybrid on {focus}. Line: no gain. Dotted: "
        "what x16 links deliver. With the same cache hiding transfers can gain at most a factor of 2."
    )
    caption = (
        f"Speedup from prefetching experts on {focus} by batch, link and hit rate; below 1 wrong prefetches take "
        f"more of the link than hidden ones save. {share} of the map gains; "
        f"the most, {significant(best['speedup'])}, at a hit rate of {best['hit_rate']:.0%}, "
        f"{significant(best['host_bytes_per_s'] / 1e9)} GB/s and {int(best['tokens_per_gpu'])} sequences a "
        "GPU."
    )
    return style.Finding(title, note, caption, f"{title}. {caption}", len(where))
