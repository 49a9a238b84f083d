"""Throughput over FLOPs for each byte copied, from the local and the remote node."""

import pandas as pd
from matplotlib.patches import Patch

from tilecast.evaluate.findings import median_rates
from tilecast.locality.guide import CLAIMED_PER_S, NO_OP
from tilecast.present.figures import style
from tilecast.present.figures.hosts import HOSTS, eager
from tilecast.tables.naming import significant

TABLES = {"results/numa/predicted.csv": "locality.predicted", "results/numa/record/runs.csv": "locality.runs"}
GROUP, TITLE, ORDER = "Locality", "Throughput against intensity", 310

DRAWN = ("l40s_claimed", "p100_two_sockets")
CLAIMED = "#ececec"


def draw(predicted: pd.DataFrame, runs: pd.DataFrame) -> style.Picture:
    """Forecast throughput from the local (solid) and the remote node (dashed); measured medians on a GPU."""
    plain = eager(predicted)
    plain = plain[plain["host"].isin(DRAWN)]
    least = plain.loc[plain["flops_per_byte"] > 0, "flops_per_byte"].min() / 8
    plain = plain.assign(intensity=plain["flops_per_byte"].clip(lower=least)).sort_values("intensity")
    figure = style.canvas(2.5)
    axes = figure.subplots()
    style.plain_log(axes.xaxis)
    style.plain_log(axes.yaxis)
    axes.grid(axis="y")
    axes.axhspan(*CLAIMED_PER_S, color=CLAIMED, zorder=0)
    for host in (name for name in DRAWN if name in set(plain["host"])):
        mine = plain[plain["host"] == host]
        look: style.Look = {"color": HOSTS[host].colour, "marker": HOSTS[host].marker, "markersize": 4}
        axes.plot(mine["intensity"], mine["local_per_s"], linewidth=1.1, **look)
        look |= {"linestyle": "--", "markerfacecolor": "white"}
        axes.plot(mine["intensity"], mine["remote_per_s"], linewidth=1.1, **look)
    places = plain.drop_duplicates("model").set_index("model")["intensity"]
    medians = median_rates(runs[runs["model"].isin(places.index)])
    crosses: style.Look = {"linestyle": "none", "marker": "x", "color": style.INK}
    axes.plot(medians["model"].map(places), medians["samples_per_s"], **crosses)
    ticks = {places[NO_OP]: "no work"} if NO_OP in places else {}
    ticks |= {value: f"{value:,}" for value in (100, 1000, 10_000, 100_000)}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(xlabel="FLOPs for each byte copied", ylabel="Samples per second")
    keys = [
        *(HOSTS[host].key() for host in DRAWN),
        style.line_key("local node", style.INK),
        style.line_key("remote node", style.INK, linestyle="--"),
        Patch(color=CLAIMED, label="claimed range"),
    ]
    if len(medians):
        keys.append(style.mark_key("measured", style.INK, "x"))
    columns = ["host", "model", "flops_per_byte", "local_per_s", "remote_per_s", "bound_local", "bound_remote"]
    return style.finish(figure, plain[columns], _finding(plain, len(medians)), keys=keys, columns=2)


def _finding(plain: pd.DataFrame, measured: int) -> style.Finding:
    """Whether the forecast throughputs go beyond what the guide saw."""
    fastest = float(plain["local_per_s"].max())
    title = (
        f"Up to {significant(fastest, 2)} samples/s are forecast where the guide saw {CLAIMED_PER_S[1]:,.0f}: "
        "something else bounds it"
        if fastest > CLAIMED_PER_S[1]
        else "Forecast throughputs lie within the guide's range"
    )
    words = f"{measured} measured medians" if measured else "none measured on a GPU"
    caption = (
        "Forecast throughput over FLOPs for each byte copied to the GPU and back, from the local node (solid) and "
        "the remote one (dashed): the lines part only where copying is the slowest stage. Band: the range the "
        f"guide gives. Measured: {words}."
    )
    note = f"n = {len(plain)} forecasts, fp32; {words}."
    return style.Finding(title, note, caption, f"{title}. {words}.", len(plain))
