"""How far each forecast of the worked examples moves when one assumption at a time is changed."""

import pandas as pd
from matplotlib.patches import Patch

from tilecast.base.statistics import error_percent
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/parallel/study/sensitivity.csv": "multigpu.sensitivity"}
GROUP, TITLE, ORDER = "Many GPUs", "Sensitivity", 220

FIGURES = {"step_ms": "step time", "ttft_ms": "TTFT", "tpot_ms": "TPOT", "memory_gb": "memory"}
SHOWN = 4  # assumptions a panel, those that move it most
ENDS = {"low": "#E69F00", "high": "#0072B2"}
Groups = list[tuple[str, str, pd.DataFrame]]


def changes(sensitivity: pd.DataFrame) -> tuple[pd.DataFrame, Groups]:
    """Each assumption's change of a forecast in percent; by example and forecast, those that move it most."""
    rows = sensitivity.assign(
        **{f"{end}_percent": error_percent(sensitivity[end], sensitivity["forecast"]) for end in ENDS}
    )
    ends = rows[["low_percent", "high_percent"]]
    span = ends.max(axis=1).clip(lower=0) - ends.min(axis=1).clip(upper=0)
    groups = [
        (str(example), str(figure), part.nlargest(SHOWN, "span", keep="first").reset_index(drop=True))
        for example, of in rows.assign(span=span).groupby("example", sort=False)
        for figure, part in of.groupby("figure", sort=False)
        if figure in FIGURES and (figure != "memory_gb" or "step_ms" in set(of["figure"]))
    ]
    return rows, groups


def draw(sensitivity: pd.DataFrame) -> style.Picture:
    """A panel a forecast; a bar an assumption, from what its low end gives to what its high end gives."""
    if sensitivity.empty:
        return style.empty_panel(TITLE, "the study holds no forecast")
    rows, groups = changes(sensitivity)
    counts = [len(part) for *_, part in groups]
    figure = style.canvas(0.175 * sum(counts) + 0.3 * len(groups) + 0.25)
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=counts)[:, 0]
    for axes, (example, name, part) in zip(panels, groups, strict=True):
        for row, found in part.iterrows():
            for end, colour in ENDS.items():
                axes.barh(row, found[f"{end}_percent"], height=0.62, color=colour)
        words = [f"{found.assumption}: {found.low_setting}, {found.high_setting}" for found in part.itertuples()]
        style.rows(axes, words)
        limit = max(5.0, float(part[["low_percent", "high_percent"]].abs().max().max()))
        axes.set_xlim(-limit * 1.1, limit * 1.1)
        axes.tick_params(axis="y", labelsize=7)
        axes.tick_params(axis="x", labelsize=7, pad=1)
        axes.axvline(0, color=style.INK, linewidth=0.9)
        axes.grid(axis="x")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
        base = naming.significant(float(part["forecast"].iloc[0]))
        heading = f"{example}: {FIGURES[name]}, {base} {'GB' if name == 'memory_gb' else 'ms'}"
        axes.set_title(heading, loc="right", fontsize=8, weight="bold", pad=2)
    panels[-1].set_xlabel("Change of the forecast (%)")
    keys = [Patch(color=colour, label=f"at the {end} end") for end, colour in ENDS.items()]
    return style.finish(figure, rows, _finding(groups, len(rows)), keys=keys)


def _finding(groups: Groups, n: int) -> style.Finding:
    """The assumption that moves a forecast most."""
    example, name, part = max(groups, key=lambda group: float(group[2]["span"].iloc[0]))
    most = part.iloc[0]
    reach = max((float(most[f"{end}_percent"]) for end in ENDS), key=abs)
    title = f"{most['assumption']} moves a forecast most: {FIGURES[name]} of {example} by {reach:+.0f} %"
    title = title[0].upper() + title[1:]
    note = (
        f"One assumption at a time; the {SHOWN} that move each forecast most. Named are the low and the high end."
    )
    caption = (
        f"Change of {len(groups)} forecasts when one assumption at a time is put at its low or its high end, both "
        f"named beside the bar; the {SHOWN} that move each most. The rest is in the data."
    )
    first = [f"{FIGURES[name]} of {example}: {part['assumption'].iloc[0]}" for example, name, part in groups]
    return style.Finding(title, note, caption, f"{title}. What moves each most: {'; '.join(first)}.", n)
