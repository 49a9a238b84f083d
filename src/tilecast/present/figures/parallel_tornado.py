"""How far each forecast moves with each assumption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.patches import Patch

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/parallel/study/sensitivity.csv": None}
GROUP = "Many GPUs"
TITLE = "Sensitivity"
ORDER = 220
CAPTION = "How far each forecast of the worked examples moves when one assumption at a time is put elsewhere."

FIGURES = {"step_ms": "step time", "ttft_ms": "TTFT", "tpot_ms": "TPOT", "memory_gb": "memory"}
SHOWN = 4  # assumptions a panel, those that move it most
LOW, HIGH = "#E69F00", "#0072B2"


def draw(sensitivity: pd.DataFrame) -> style.Picture:
    """A panel a forecast; a bar an assumption, from what its low end gives to what its high end gives."""
    if sensitivity.empty:
        return style.empty_panel("Sensitivity", "the study holds no forecast")
    rows = sensitivity.assign(
        low_percent=100 * (sensitivity["low"] / sensitivity["forecast"] - 1),
        high_percent=100 * (sensitivity["high"] / sensitivity["forecast"] - 1),
    )
    ends = rows[["low_percent", "high_percent"]].to_numpy()
    rows["span"] = ends.max(axis=1).clip(min=0) - ends.min(axis=1).clip(max=0)
    groups = [
        (str(example), str(figure), part.nlargest(SHOWN, "span", keep="first"))
        for example, of in rows.groupby("example", sort=False)
        for figure, part in of.groupby("figure", sort=False)
        if figure in FIGURES and (figure != "memory_gb" or "step_ms" in set(of["figure"]))
    ]
    counts = [len(part) for *_, part in groups]
    figure = style.canvas(0.175 * sum(counts) + 0.3 * len(groups) + 0.25)
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, (example, name, part) in zip(panels, groups, strict=True):
        part = part.reset_index(drop=True)
        limit = max(5.0, float(part[["low_percent", "high_percent"]].abs().max().max()))
        for row, found in part.iterrows():
            for value, colour in ((found["low_percent"], LOW), (found["high_percent"], HIGH)):
                axes.barh(row, value, height=0.62, color=colour)
        words = [f"{found.assumption}: {found.low_setting}, {found.high_setting}" for found in part.itertuples()]
        axes.set_yticks(range(len(part)), words, fontsize=7)
        axes.set_ylim(len(part) - 0.4, -0.6)
        axes.set_xlim(-limit * 1.1, limit * 1.1)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=7, pad=1)
        axes.axvline(0, color=style.INK, linewidth=0.9)
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
        base = float(part["forecast"].iloc[0])
        unit = "GB" if name == "memory_gb" else "ms"
        axes.set_title(
            f"{example}: {FIGURES[name]}, {naming.significant(base)} {unit}",
            loc="right",
            fontsize=8,
            weight="bold",
            pad=2,
        )
    panels[-1].set_xlabel("Change of the forecast (%)")

    example, name, part = max(groups, key=lambda group: float(group[2]["span"].iloc[0]))
    most = part.iloc[0]
    reach = max((float(most[end]) for end in ("low_percent", "high_percent")), key=abs)
    title = f"{most['assumption']} moves a forecast most: {FIGURES[name]} of {example} by {reach:+.0f} %"
    title = title[0].upper() + title[1:]
    style.frame(
        figure,
        title,
        f"One assumption at a time; the {SHOWN} that move each forecast most. Named are the low and the high end.",
        keys=[Patch(color=LOW, label="at the low end"), Patch(color=HIGH, label="at the high end")],
    )
    caption = (
        f"Change of {len(groups)} forecasts when one assumption at a time is put at its low or its high end, both "
        f"named beside the bar; the {SHOWN} that move each most. The rest is in the data."
    )
    first = [f"{FIGURES[name]} of {example}: {part['assumption'].iloc[0]}" for example, name, part in groups]
    alt = f"{title}. What moves each most: {'; '.join(first)}."
    return style.Picture(figure, rows.drop(columns="span"), title, caption, alt, len(rows))
