"""What the gain of prefetching depends on, one input at a time."""

from __future__ import annotations

import pandas as pd

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/moe/tornado.csv": None}
GROUP = "Experts"
TITLE = "Sensitivity"
ORDER = 280
PARAMS = ("focus",)
CAPTION = "What the gain of prefetching depends on, one input at a time."

LOW, HIGH = "#E69F00", "#0072B2"
WORDS = {
    "accuracy": ("Predictor's accuracy", 100, " %"),
    "tokens_per_gpu": ("Sequences a GPU", 1, ""),
    "top_k": ("Experts a token", 1, ""),
    "host_bytes_per_s": ("Link to the host", 1e-9, " GB/s"),
    "hit_rate": ("Cache hit rate", 100, " %"),
}


def draw(tornado: pd.DataFrame, focus: str) -> style.Picture:
    """Left the speedup, right tokens per second with prefetching: at each input's low and high value."""
    base = tornado[tornado["factor"] == "study"].iloc[0]
    rows = tornado[tornado["factor"] != "study"]
    spans = rows.groupby("factor")["speedup"].agg(lambda values: values.max() - values.min())
    order = [str(name) for name in spans.sort_values().index]
    figure = style.canvas(0.42 * len(order) + 0.6)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, column in zip(panels, ("speedup", "prophet_tokens_per_s"), strict=True):
        start = float(base[column])
        panel.axvline(start, color=style.INK, linewidth=0.8)
        for place, factor in enumerate(order):
            ends = rows[rows["factor"] == factor].sort_values("value").to_dict("records")
            for end, colour, side in zip(ends, (LOW, HIGH), (-1, 1), strict=True):
                panel.barh(place + 0.17 * side, end[column] - start, left=start, height=0.32, color=colour)
                if column == "speedup":
                    _, scale, unit = WORDS[factor]
                    ahead = end[column] >= start
                    panel.annotate(
                        f"{end['value'] * scale:.3g}{unit}",
                        (end[column], place + 0.17 * side),
                        (3 if ahead else -3, 0),
                        textcoords="offset points",
                        ha="left" if ahead else "right",
                        va="center",
                        fontsize=style.MINOR_PT - 1,
                    )
    left, right = panels
    span = rows["speedup"].max() - rows["speedup"].min()
    left.set_xlim(rows["speedup"].min() - 0.4 * span, rows["speedup"].max() + 0.4 * span)
    left.axvline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
    left.set_yticks(range(len(order)), [WORDS[factor][0] for factor in order])
    left.set_xlabel("Speedup from prefetching")
    style.plain_log(right.xaxis)
    right.set_xlabel("Tokens/s with prefetching")

    most = rows.iloc[int(rows["speedup"].argmax())]
    name, scale, unit = WORDS[str(most["factor"])]
    title = (
        f"{name} matters most: {most['value'] * scale:.3g}{unit} would turn a speedup of "
        f"{naming.significant(base['speedup'])} into {naming.significant(most['speedup'])}"
    )
    note = (
        f"n = {len(tornado)} forecasts, the hybrid on {focus}; one input at a time, the others as the study has "
        "them (solid line). Orange: low value, blue: high value. Dotted: no gain."
    )
    style.frame(figure, title, note)
    caption = (
        f"Sensitivity of the hybrid strategy on {focus} to five inputs, physical model: the speedup from "
        "prefetching (left) and the throughput with it (right). Faster links help both ways of running; the "
        "speedup grows only until transfers take no longer than the computation they hide behind."
    )
    said = "; ".join(
        f"{WORDS[row['factor']][0]} {row['value'] * WORDS[row['factor']][1]:.3g}"
        f"{WORDS[row['factor']][2]}: {naming.significant(row['speedup'])}"
        for row in rows.to_dict("records")
    )
    return style.Picture(figure, tornado, title, caption, f"{title}. Speedups: {said}.", len(tornado))
