"""The physical model of experts against measurements: all-to-all kernels, tokens from offloaded experts."""

from __future__ import annotations

import pandas as pd
from matplotlib.lines import Line2D

from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/moe/alltoall.csv": None, "results/moe/anchors.csv": None}
GROUP = "Experts"
TITLE = "Against measurements"
ORDER = 290
CAPTION = "All-to-all forecasts and times a token against what others measured."

COLOURS = {"NVLink": "#0072B2", "network": "#D55E00"}
MARKERS = {"low latency": "o", "high throughput": "s"}


def draw(exchanges: pd.DataFrame, anchors: pd.DataFrame) -> style.Picture:
    """Left all-to-all forecast against measured; right milliseconds a token, measured, and the model's range."""
    figure = style.canvas(2.9)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 0.9)})
    for row in exchanges.to_dict("records"):
        colour = COLOURS[row["links"]]
        left.plot(
            row["measured_us"],
            row["predicted_us"],
            marker=MARKERS[row["kernel"]],
            linestyle="none",
            color=colour,
            markersize=4,
            markerfacecolor=colour if row["in_use"] else "white",
            markeredgewidth=0.9,
        )
    ends = [
        exchanges[["measured_us", "predicted_us"]].min().min(),
        exchanges[["measured_us", "predicted_us"]].max().max(),
    ]
    left.plot(ends, ends, color=style.INK, linewidth=0.8, zorder=0)
    style.plain_log(left.xaxis)
    style.plain_log(left.yaxis)
    left.set_xlabel("Measured all-to-all (µs)")
    left.set_ylabel("Forecast (µs)")
    names = []
    for place, row in enumerate(anchors.to_dict("records")):
        right.plot([row["fastest_ms"], row["slowest_ms"]], [place, place], color="#56B4E9", linewidth=5, zorder=1)
        right.plot(row["fastest_ms"], place, "|", color="#56B4E9", markersize=7)
        right.plot(row["measured_ms"], place, "D", color=style.INK, markersize=4)
        names.append(f"{row['model']}\n{row['gpu'].split()[0]}, {row['method']}")
    right.set_yticks(range(len(names)), names, fontsize=style.MINOR_PT - 1.5)
    right.invert_yaxis()
    style.plain_log(right.xaxis)
    right.set_xlabel("A token (ms)")

    used = exchanges[exchanges["in_use"]]
    means = {
        links: float(used[used["links"] == links]["error_percent"].abs().mean()) for links in ("NVLink", "network")
    }
    near = int((anchors["measured_over_model"].between(0.67, 1.5)).sum())
    title = (
        f"All-to-all forecasts err by {naming.significant(means['NVLink'])} % over NVLink; {near} of "
        f"{len(anchors)} end-to-end figures come near the model"
    )
    note = (
        f"n = {len(exchanges)} measured exchanges (hollow: sizes the kernel is not meant for; over networks "
        f"{naming.significant(means['network'])} %) and {len(anchors)} published times a token "
        "(diamonds; bar: model)."
    )
    keys = [
        *(
            Line2D([], [], linestyle="none", marker="o", color=colour, label=name)
            for name, colour in COLOURS.items()
        ),
        *(
            Line2D([], [], linestyle="none", marker=mark, color=style.MUTED, label=name)
            for name, mark in MARKERS.items()
        ),
    ]
    style.frame(figure, title, note, keys=keys, columns=4)
    caption = (
        "Left: dispatch and combine of mixtures of experts, measured by others (DeepEP's kernels on 8 H100, H800 "
        "clusters), against forecasts from collectives measured with NCCL on H100; nothing was fitted to these "
        "rows. Right: published times a token from offloaded experts; the model's bar spans fetching on demand to "
        "a perfect predictor. A diamond far to the right is slower than the link alone explains."
    )
    said = "; ".join(
        f"{row['model']} {row['method']} on {row['gpu']}: measured {naming.significant(row['measured_ms'])} ms, "
        f"model {naming.significant(row['fastest_ms'])} to {naming.significant(row['slowest_ms'])} ms"
        for row in anchors.to_dict("records")
    )
    data = pd.concat([exchanges.assign(panel="all-to-all"), anchors.assign(panel="tokens")], ignore_index=True)
    return style.Picture(figure, data, title, caption, f"{title}. {said}.", len(data))
