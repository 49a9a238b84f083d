"""Throughput over the work done for each byte copied: where distance can matter at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tilecast.locality.guide import CLAIMED_PER_S, NO_OP
from tilecast.present.figures import style
from tilecast.present.figures.hosts import HOSTS
from tilecast.tables.naming import significant

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/numa/predicted.csv": "locality.predicted", "results/numa/record/runs.csv": "locality.runs"}
GROUP = "Locality"
TITLE = "Throughput against intensity"
ORDER = 310
CAPTION = "Throughput over FLOPs for each byte copied, from the local and the remote node."

DRAWN = ("l40s_claimed", "p100_two_sockets")


def draw(predicted: pd.DataFrame, runs: pd.DataFrame) -> style.Picture:
    """Forecast throughput from the local (solid) and the remote node (dashed); measured medians on a GPU."""
    plain = predicted[(predicted["dtype"] == "fp32") & predicted["host"].isin(DRAWN)]
    least = plain.loc[plain["flops_per_byte"] > 0, "flops_per_byte"].min() / 8
    plain = plain.assign(intensity=plain["flops_per_byte"].clip(lower=least)).sort_values("intensity")
    figure = style.canvas(2.5)
    axes = figure.subplots()
    style.plain_log(axes.xaxis)
    style.plain_log(axes.yaxis)
    axes.grid(axis="y")
    axes.axhspan(*CLAIMED_PER_S, color="#ececec", zorder=0)
    for host in (name for name in DRAWN if name in set(plain["host"])):
        _, colour, marker = HOSTS[host]
        mine = plain[plain["host"] == host]
        shown: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.1}
        axes.plot(mine["intensity"], mine["local_per_s"], **shown)
        axes.plot(mine["intensity"], mine["remote_per_s"], linestyle="--", markerfacecolor="white", **shown)
    places = plain.drop_duplicates("model").set_index("model")["intensity"]
    real = runs[(runs["status"] == "ok") & (runs["device"] == "cuda") & runs["model"].isin(places.index)]
    real = real[(real["dtype"] == "fp32") & ~real["compiled"]]
    medians = real.groupby(["model", "gpu", "memory_node"], as_index=False)["samples_per_s"].median()
    axes.plot(
        medians["model"].map(places), medians["samples_per_s"], linestyle="none", marker="x", color=style.INK
    )
    axes.set_xticks(
        [places[NO_OP], 100, 1000, 10_000, 100_000] if NO_OP in places else [100, 1000, 10_000, 100_000],
        ["no work", "100", "1,000", "10,000", "100,000"] if NO_OP in places else None,
    )
    axes.set(xlabel="FLOPs for each byte copied", ylabel="Samples per second")

    fastest = float(plain["local_per_s"].max())
    title = (
        f"Up to {significant(fastest, 2)} samples/s are forecast where the guide saw {CLAIMED_PER_S[1]:,.0f}: "
        "something else bounds it"
        if fastest > CLAIMED_PER_S[1]
        else "Forecast throughputs lie within the guide's range"
    )
    words = f"{len(medians)} measured medians" if len(medians) else "none measured on a GPU"
    keys = [
        *(Line2D([], [], color=HOSTS[host][1], marker=HOSTS[host][2], markersize=4, label=HOSTS[host][0])
          for host in DRAWN),
        Line2D([], [], color=style.INK, label="local node"),
        Line2D([], [], color=style.INK, linestyle="--", label="remote node"),
        Patch(color="#ececec", label="claimed range"),
        *([Line2D([], [], color=style.INK, marker="x", linestyle="none", label="measured")] * bool(len(medians))),
    ]  # fmt: skip
    style.frame(figure, title, f"n = {len(plain)} forecasts, fp32; {words}.", keys=keys, columns=2)
    caption = (
        "Forecast throughput over FLOPs for each byte copied to the GPU and back, from the local node (solid) and "
        "the remote one (dashed): the lines part only where copying is the slowest stage. Band: the range the "
        f"guide gives. Measured: {words}."
    )
    alt = f"{title}. {words}."
    columns = ["host", "model", "flops_per_byte", "local_per_s", "remote_per_s", "bound_local", "bound_remote"]
    return style.Picture(figure, plain[columns], title, caption, alt, len(plain))
