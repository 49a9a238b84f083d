"""Throughput of decoding with and without an expert prefetcher on every system and strategy of the study.

By the original's formula, by what its guide says, and by the physical model.
"""

import pandas as pd

from tilecast.moe.names import STRATEGIES
from tilecast.present.figures import moe, style
from tilecast.tables.naming import significant

TABLES = {"results/moe/data/all_systems_comparison.csv": "moe.systems"}
GROUP, TITLE, ORDER = "Experts", "Systems and strategies", 260

LEAST_GAIN = 1.005  # a speedup that counts as one


def draw(systems: pd.DataFrame) -> style.Picture:
    """A row a system and strategy, a panel a reading: tokens per second without and with prefetching."""
    cells = list(systems[["system", "strategy"]].drop_duplicates().itertuples(index=False, name=None))
    figure = style.canvas(0.2 * len(cells) + 0.6)
    panels = figure.subplots(1, len(moe.MODES), sharey=True)
    rates = systems[["baseline_tokens_low_per_s", "baseline_tokens_per_s", "prophet_tokens_per_s"]]
    low, high = rates.min().min(), rates.max().max()
    for panel, (mode, words) in zip(panels, moe.MODES.items(), strict=True):
        part = systems[systems["mode"] == mode].set_index(["system", "strategy"])
        for place, cell in enumerate(cells):
            before, after = part.loc[cell, ["baseline_tokens_per_s", "prophet_tokens_per_s"]]
            ends = part.loc[cell, ["baseline_tokens_low_per_s", "prophet_tokens_high_per_s"]]
            if ends.notna().all():
                panel.plot(ends, [place, place], color=style.FAINT, linewidth=0.8, zorder=0)
            if before == before:
                panel.plot([before, after], [place, place], color=style.FAINT, linewidth=2.2, zorder=1)
                panel.plot(before, place, "o", color=moe.BASELINE, markerfacecolor="white", markersize=5)
                panel.plot(after, place, "o", color=moe.PROPHET, markersize=4)
        for place, cell in enumerate(cells):
            if part.loc[cell, "verdict"] == "impossible":
                look: style.Look = {"va": "center", "fontsize": style.MINOR_PT - 1, "color": style.MUTED}
                panel.text(low / 1.6, place, "cannot run", **look)
            if place and cells[place - 1][0] != cell[0]:
                panel.axhline(place - 0.5, color=style.FAINT, linewidth=0.8)
        style.plain_log(panel.xaxis)
        panel.set_xlim(low / 2, high * 2)
        panel.set_title(words)
        panel.set_xlabel("Tokens per second")
        panel.grid(axis="x")
    panels[0].set_yticks(range(len(cells)), [f"{system}  {STRATEGIES[name]}" for system, name in cells])
    panels[0].invert_yaxis()
    columns = ["mode", "system", "strategy", "spread", "verdict"]
    columns += ["baseline_tokens_per_s", "prophet_tokens_per_s", "speedup", "speedup_low", "speedup_high"]
    return style.finish(figure, systems[columns], _finding(systems, len(cells)), keys=moe.keys())


def _finding(systems: pd.DataFrame, cells: int) -> style.Finding:
    """The largest published speedup, and in how many cases physics leaves a gain."""
    published, _, physical = (systems[systems["mode"] == mode] for mode in moe.MODES)
    stays, never = (int((systems["verdict"] == verdict).sum()) for verdict in ("resident", "impossible"))
    gains = int((physical["speedup"] > LEAST_GAIN).sum())
    most = significant(physical["speedup_high"].max())
    title = (
        f"Published speedups reach {significant(published['speedup'].max())}; with memory and links counted, "
        f"prefetching gains in {gains} of {len(physical)} cases, at most {most} times"
    )
    note = (
        f"n = {cells} systems and strategies in three readings of the same inputs; nothing here is measured. "
        f"Physical: {stays} hold every expert in GPU memory, {never} cannot run, the others fetch over PCIe. "
        "Thin lines: over the inputs that the guide leaves open."
    )
    caption = (
        "Throughput of decoding without (hollow) and with (filled) the expert prefetcher: left by the original's "
        "recovered formula, in the middle by what its guide says of the inputs, right by this project's model of "
        "placement, all-to-all, caches and host transfers. Same "
        f"inputs: {cells} combinations. Where both points coincide there is nothing to fetch."
    )
    words = []
    for row in systems[systems["strategy"] == "hybrid"].to_dict("records"):
        rates = f"{significant(row['baseline_tokens_per_s'])} to {significant(row['prophet_tokens_per_s'])}"
        runs = row["speedup"] == row["speedup"]
        words.append(
            f"{row['system']} {STRATEGIES[row['strategy']]} {moe.MODES[row['mode']].lower()}: "
            + (rates if runs else "cannot run")
        )
    alt = f"{title}. Tokens per second of the hybrids: {'; '.join(words)}."
    return style.Finding(title, note, caption, alt, len(systems))
