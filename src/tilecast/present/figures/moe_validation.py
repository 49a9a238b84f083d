"""All-to-all forecasts and times a token against what others measured."""

import pandas as pd

from tilecast.evaluate.statistics import error_summary
from tilecast.present.figures import style
from tilecast.tables.naming import significant

TABLES = {"results/moe/alltoall.csv": "moe.alltoall", "results/moe/anchors.csv": "moe.anchors"}
GROUP, TITLE, ORDER = "Experts", "Against measurements", 290

COLOURS = {"NVLink": "#0072B2", "network": "#D55E00"}
MARKERS = {"low latency": "o", "high throughput": "s"}
MODEL = "#56B4E9"
NEAR = 2.0  # the larger of measured and model over the smaller


def mean_errors(exchanges: pd.DataFrame) -> dict[str, float]:
    """Mean error in percent of the exchanges that the kernels are meant for, by the links they cross."""
    used = exchanges[exchanges["in_use"]]
    errors = {links: used["error_percent"][used["links"] == links] for links in COLOURS}
    return {links: error_summary(error)["mape_percent"] for links, error in errors.items()}


def draw(exchanges: pd.DataFrame, anchors: pd.DataFrame) -> style.Picture:
    """Left all-to-all forecast against measured; right milliseconds a token, measured, and the model's range."""
    figure = style.canvas(2.9)
    left, right = figure.subplots(1, 2, width_ratios=(1, 0.9))
    for row in exchanges.to_dict("records"):
        colour = COLOURS[row["links"]]
        face = colour if row["in_use"] else "white"
        look: style.Look = {"marker": MARKERS[row["kernel"]], "color": colour, "markerfacecolor": face}
        left.plot(
            row["measured_us"], row["predicted_us"], linestyle="none", markersize=4, markeredgewidth=0.9, **look
        )
    both = exchanges[["measured_us", "predicted_us"]]
    ends = [both.min().min(), both.max().max()]
    left.plot(ends, ends, color=style.INK, linewidth=0.8, zorder=0)
    left.set(xlabel="Measured all-to-all (µs)", ylabel="Forecast (µs)")
    names = []
    for place, row in enumerate(anchors.to_dict("records")):
        right.plot([row["fastest_ms"], row["slowest_ms"]], [place, place], color=MODEL, linewidth=5, zorder=1)
        right.plot(row["forecast_ms"], place, "|", color=style.INK, markersize=7)
        right.plot(row["measured_ms"], place, "D", color=style.INK, markersize=4)
        batch = f", batch {row['batch']}" if row["batch"] > 1 else ""
        first = ", first release" if row["id"].startswith("first") else ""
        names.append(f"{row['model']}{batch}, {row['method']}{first}" + ("" if row["judged"] else " (check)"))
    right.set_yticks(range(len(names)), names, fontsize=style.MINOR_PT - 1.5)
    right.invert_yaxis()
    right.set_xlabel("Step (ms)")
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        style.plain_log(axis)
    keys = [style.mark_key(name, colour, "o") for name, colour in COLOURS.items()]
    keys += [style.mark_key(name, style.MUTED, marker) for name, marker in MARKERS.items()]
    data = pd.concat([exchanges.assign(panel="all-to-all"), anchors.assign(panel="tokens")], ignore_index=True)
    return style.finish(figure, data, _finding(exchanges, anchors), keys=keys, columns=4)


def _finding(exchanges: pd.DataFrame, anchors: pd.DataFrame) -> style.Finding:
    """The mean error over NVLink, and how many published times come near the model."""
    means = mean_errors(exchanges)
    judged = anchors[anchors["judged"]]
    near = int((judged["factor"] <= NEAR).sum())
    title = (
        f"All-to-all forecasts err by {style.percent(means['NVLink'])} over NVLink; {near} of "
        f"{len(judged)} end-to-end figures lie within a factor of two"
    )
    note = (
        f"n = {len(exchanges)} measured exchanges (hollow: sizes the kernel is not meant for; over networks "
        f"{style.percent(means['network'])}) and {len(anchors)} published times a step "
        "(diamonds; bar: the model over what the source does not state, tick: its middle)."
    )
    caption = (
        "Left: dispatch and combine of mixtures of experts, measured by others (DeepEP's kernels on 8 H100, H800 "
        "clusters), against forecasts from collectives measured with NCCL on H100; nothing was fitted to these "
        "rows. Right: published times of a decoding step with offloaded experts; the model's bar spans all values "
        "of what the source does not state, such as the cache's policy."
    )
    words = "; ".join(
        f"{row['model']} {row['method']}: measured {significant(row['measured_ms'])} ms, "
        f"model {significant(row['fastest_ms'])} to {significant(row['slowest_ms'])} ms"
        for row in anchors.to_dict("records")
    )
    return style.Finding(title, note, caption, f"{title}. {words}.", len(exchanges) + len(anchors))
