"""Where prefetching experts pays: by what stays on the GPU, what crosses, and recall; published systems."""

import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.patheffects import withStroke

from tilecast.present.figures import style
from tilecast.tables.naming import significant

TABLES = {"results/moe/where.csv": "moe.where", "results/moe/gains.csv": "moe.gains"}
GROUP, TITLE, ORDER = "Experts", "Where prefetching pays", 270

KEPT, RATIO = "kept_share", "transfer_over_compute"
PAYS = 1.1  # a speedup worth having


def draw(where: pd.DataFrame, gains: pd.DataFrame) -> style.Picture:
    """A panel a recall: gain by share of experts kept (up) and transfer over computation (right)."""
    recalls = sorted(where["recall"].unique())
    placed = gains[gains[RATIO].notna()].reset_index(drop=True)
    figure = style.canvas(2.6)
    panels = figure.subplots(1, len(recalls), sharex=True, sharey=True)
    norm = TwoSlopeNorm(1.0, min(float(where["speedup"].min()), 0.99), max(float(where["speedup"].max()), 1.01))
    for panel, recall in zip(panels, recalls, strict=True):
        part = where[where["recall"] == recall].pivot(index=KEPT, columns=RATIO, values="speedup")
        x, y, speedup = part.columns.to_numpy(), 100 * part.index.to_numpy(), part.to_numpy()
        mesh = panel.pcolormesh(x, y, speedup, norm=norm, cmap="PuOr", shading="nearest", linewidth=0)
        mesh.set_edgecolor("face")
        panel.contour(x, y, speedup, levels=[PAYS], colors=style.INK, linewidths=1.0)
        for place, row in enumerate(placed.to_dict("records")):
            panel.plot(row[RATIO], 100 * row[KEPT], "D", color=style.INK, markersize=4, markeredgecolor="white")
            panel.annotate(
                str(place + 1), (row[RATIO], 100 * row[KEPT]), (4, 3), textcoords="offset points",
                fontsize=style.MINOR_PT, path_effects=[withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip
        panel.set_xscale("log", base=2)
        panel.set_xticks([2.0**power for power in (-2, 0, 2, 4, 6)], ["1/4", "1", "4", "16", "64"])
        panel.set_title(f"Recall {recall:.0%}")
    panels[0].set_ylabel("Experts that stay on the GPU (%)")
    panels[len(panels) // 2].set_xlabel("Fetching a layer's experts / computing the layer")
    figure.colorbar(mesh, ax=list(panels), shrink=0.9, aspect=25).set_label("Speedup from prefetching")
    return style.finish(figure, where, _finding(where, placed))


def _finding(where: pd.DataFrame, placed: pd.DataFrame) -> style.Finding:
    """Over which transfers prefetching is worth a tenth and more, and what of published gains is its own."""
    best = where.iloc[int(where["speedup"].argmax())]
    pays = where[where["speedup"] >= PAYS]
    low, high = (significant(end(pays[RATIO])) if len(pays) else "none" for end in (min, max))
    title = (
        f"Prefetching adds at most {significant(best['speedup'])} times to the same cache, a tenth or more only "
        f"where fetching takes {low} to {high} times as long as computing"
    )
    named = "; ".join(
        f"{place + 1} {row['what']}: {significant(row['gain'])} stated, {significant(row['prefetching_low'])} to "
        f"{significant(row['prefetching_high'])} of it prefetching"
        for place, row in enumerate(placed.to_dict("records"))
    )
    note = f"n = {len(where)} forecasts. Line: a gain of {PAYS - 1:.0%}. Diamonds: published systems. {named}."
    caption = (
        "Speedup from prefetching over fetching the same experts on demand, same cache and link, by the share of "
        "experts that stay on the GPU and by the time to fetch what a layer needs over the time to compute it. "
        "Below 1 wrong prefetches take more of the link than hidden ones save. Published gains compare with other "
        "systems, whose memory is pageable or whose whole layers cross: most of each lies there."
    )
    return style.Finding(title, note, caption, f"{title}. {named}.", len(where))
