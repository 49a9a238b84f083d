"""What the gain of prefetching experts depends on, one input at a time."""

from typing import NamedTuple

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables.naming import significant

TABLES = {"results/moe/tornado.csv": "moe.tornado"}
GROUP, TITLE, ORDER = "Experts", "Sensitivity", 280
PARAMS = ("focus",)


class Input(NamedTuple):
    """How an input is named and shown."""

    name: str
    scale: float
    unit: str

    def shown(self, value: float) -> str:
        """The value in the unit people read."""
        return f"{value * self.scale:.3g}{self.unit}"


COLOURS = ("#E69F00", "#0072B2")  # at the low value, at the high value
INPUTS = {
    "recall": Input("Predictor's recall", 100, " %"),
    "precision": Input("Predictor's precision", 100, " %"),
    "tokens_per_gpu": Input("Sequences a GPU", 1, ""),
    "host_bytes_per_s": Input("Link to the host", 1e-9, " GB/s"),
    "cache_share": Input("Memory for experts", 100, " %"),
    "reuse": Input("Experts used again", 100, " %"),
}


def draw(tornado: pd.DataFrame, focus: str) -> style.Picture:
    """Left the speedup, right tokens per second with prefetching: at each input's low and high value."""
    base = tornado[tornado["factor"] == "study"].iloc[0]
    rows = tornado[tornado["factor"] != "study"]
    speedups = rows.groupby("factor")["speedup"]
    order = [str(name) for name in (speedups.max() - speedups.min()).sort_values().index]
    figure = style.canvas(0.42 * len(order) + 0.6)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, column in zip(panels, ("speedup", "prophet_tokens_per_s"), strict=True):
        start = float(base[column])
        panel.axvline(start, color=style.INK, linewidth=0.8)
        for place, factor in enumerate(order):
            ends = rows[rows["factor"] == factor].sort_values("value").to_dict("records")
            for end, colour, side in zip(ends, COLOURS, (-1, 1), strict=True):
                height = place + 0.17 * side
                panel.barh(height, end[column] - start, left=start, height=0.32, color=colour)
                if column == "speedup":
                    ahead = end[column] >= start
                    panel.annotate(
                        INPUTS[factor].shown(end["value"]),
                        (end[column], height),
                        (3 if ahead else -3, 0),
                        textcoords="offset points",
                        ha="left" if ahead else "right",
                        va="center",
                        fontsize=style.MINOR_PT - 1,
                    )
    left, right = panels
    low, high = rows["speedup"].min(), rows["speedup"].max()
    left.set_xlim(low - 0.4 * (high - low), high + 0.4 * (high - low))
    left.axvline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
    left.set_yticks(range(len(order)), [INPUTS[factor].name for factor in order])
    left.set_xlabel("Speedup from prefetching")
    style.plain_log(right.xaxis)
    style.round_ticks(right.xaxis, *right.get_xlim())
    right.set_xlabel("Tokens/s with prefetching")
    return style.finish(figure, tornado, _finding(rows, float(base["speedup"]), focus))


def _finding(rows: pd.DataFrame, base: float, focus: str) -> style.Finding:
    """The input that changes the speedup most, and what it would be then."""
    n = len(rows) + 1
    most = rows.iloc[int(rows["speedup"].argmax())]
    input_ = INPUTS[str(most["factor"])]
    title = (
        f"{input_.name} matters most: {input_.shown(most['value'])} would turn a speedup of "
        f"{significant(base)} into {significant(most['speedup'])}"
    )
    note = (
        f"n = {n} forecasts, the hybrid on {focus}; one input at a time, the others as the study has "
        "them (solid line). Orange: low value, blue: high value. Dotted: no gain."
    )
    caption = (
        f"Sensitivity of the hybrid strategy on {focus} to six inputs, physical model: the speedup from "
        "prefetching (left) and the throughput with it (right). Faster links help both ways of running; the "
        "speedup grows only until transfers take no longer than the computation they hide behind. Whether "
        "experts fit is found anew for each value."
    )
    words = "; ".join(
        f"{INPUTS[row['factor']].name} {INPUTS[row['factor']].shown(row['value'])}: {significant(row['speedup'])}"
        for row in rows.to_dict("records")
    )
    return style.Finding(title, note, caption, f"{title}. Speedups: {words}.", n)
