"""Every system and strategy of the expert-parallel study, as published beside what physics allows."""

from __future__ import annotations

import pandas as pd

from tilecast.moe.names import STRATEGIES
from tilecast.present.figures import moe, style
from tilecast.tables import naming

TABLES = {"results/moe/data/all_systems_comparison.csv": "moe.systems"}
GROUP = "Experts"
TITLE = "Systems and strategies"
ORDER = 260
CAPTION = (
    "Throughput of decoding with and without an expert prefetcher on every system and strategy of the study, "
    "by the original's formula and by the physical model."
)


def draw(systems: pd.DataFrame) -> style.Picture:
    """A row a system and strategy, a panel a reading: tokens per second without and with prefetching."""
    cells = systems[["system", "strategy"]].drop_duplicates().to_dict("records")
    names = [STRATEGIES[cell["strategy"]] for cell in cells]
    figure = style.canvas(0.2 * len(cells) + 0.6)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, (mode, words) in zip(panels, moe.MODES.items(), strict=True):
        part = systems[systems["mode"] == mode].set_index(["system", "strategy"])
        for place, cell in enumerate(cells):
            row = part.loc[(cell["system"], cell["strategy"])]
            before, after = row["baseline_tokens_per_s"], row["prophet_tokens_per_s"]
            if before != before:
                continue
            panel.plot([before, after], [place, place], color=style.FAINT, linewidth=2.2, zorder=1)
            panel.plot(before, place, "o", color=moe.BASELINE, markerfacecolor="white", markersize=5)
            panel.plot(after, place, "o", color=moe.PROPHET, markersize=4)
        style.plain_log(panel.xaxis)
        low, high = systems["baseline_tokens_per_s"].min(), systems["prophet_tokens_per_s"].max()
        panel.set_xlim(low / 2, high * 2)
        for place, cell in enumerate(cells):
            if part.loc[(cell["system"], cell["strategy"]), "verdict"] == "impossible":
                panel.text(
                    low / 1.6, place, "cannot run", va="center", fontsize=style.MINOR_PT - 1, color=style.MUTED
                )
            if place and cells[place - 1]["system"] != cell["system"]:
                panel.axhline(place - 0.5, color=style.FAINT, linewidth=0.8)
        panel.set_title(words)
        panel.set_xlabel("Tokens per second")
        panel.grid(axis="x")
    panels[0].set_yticks(range(len(cells)), [f"{c['system']}  {n}" for c, n in zip(cells, names, strict=True)])
    panels[0].invert_yaxis()

    most = {mode: systems[systems["mode"] == mode]["speedup"].max() for mode in moe.MODES}
    stays, never = (int((systems["verdict"] == verdict).sum()) for verdict in ("resident", "impossible"))
    physical = systems[systems["mode"] == "physical"]
    gains = int((physical["speedup"] > 1.005).sum())
    title = (
        f"Published speedups reach {naming.significant(most['as_published'])}; with memory and links counted, "
        f"prefetching gains in {gains} of {len(physical)} cases"
    )
    note = (
        f"n = {len(cells)} systems and strategies in two readings of the same inputs; nothing here is measured. "
        f"Physical: {stays} hold every expert in GPU memory, {never} cannot run, the others fetch over PCIe."
    )
    style.frame(figure, title, note, keys=moe.keys())
    caption = (
        "Throughput of decoding without (hollow) and with (filled) the expert prefetcher: left by the original's "
        "recovered formula, right by this project's model of placement, all-to-all and host transfers. Same "
        f"inputs: {len(cells)} combinations. Where both points coincide there is nothing to fetch."
    )
    said = [
        f"{row['system']} {STRATEGIES[row['strategy']]} {moe.MODES[row['mode']].lower()}: "
        + (
            "cannot run"
            if row["speedup"] != row["speedup"]
            else f"{naming.significant(row['baseline_tokens_per_s'])} to "
            f"{naming.significant(row['prophet_tokens_per_s'])}"
        )
        for row in systems[systems["strategy"] == "hybrid"].to_dict("records")
    ]
    alt = f"{title}. Tokens per second of the hybrids: {'; '.join(said)}."
    columns = [
        "mode", "system", "strategy", "spread", "verdict", "baseline_tokens_per_s", "prophet_tokens_per_s",
        "speedup",
    ]  # fmt: skip
    return style.Picture(figure, systems[columns], title, caption, alt, len(systems))
