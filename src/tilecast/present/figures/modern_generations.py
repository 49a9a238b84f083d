"""Error on GPU generations nobody measured, by family of kernels: left out, and forward in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/modern/protocol.csv": None}
GROUP = "Modern GPUs"
TITLE = "Generations left out"
ORDER = 140
CAPTION = "Error on GPU generations left out of training, and forward in time, by family of kernels."

FAMILIES = {
    "gemm/bf16": "Products, bf16",
    "gemm/fp8": "Products, fp8",
    "prefill/bf16": "Prefill attention",
    "decode/bf16": "Decode attention",
    "moe_triton/bf16": "Experts, one kernel",
    "moe/bf16": "Experts, any kernel",
}
LEFT_OUT, FORWARD = "left out", "forward"


def draw(protocol: pd.DataFrame) -> style.Picture:
    """A panel a family, a row a generation: points by predictor, a fainter mark for forward in time."""
    if protocol.empty:
        return style.empty_panel("Generations left out", "the wheel of kernel timings was not fetched")
    table = protocol.assign(group=protocol["family"] + "/" + protocol["dtype"])
    table = table[table["group"].isin(FAMILIES)]
    keys = ["kind", "group", "generation", "predictor"]
    means = (
        table.groupby(keys, sort=False).agg(n=("n", "sum"), mape_percent=("mape_percent", "mean")).reset_index()
    )
    generations = list(dict.fromkeys(protocol["generation"]))
    predictors = naming.ordered(naming.PREDICTORS, means["predictor"])
    shown = [name for name in FAMILIES if name in set(means["group"])]
    lines = -(-len(shown) // 2)
    figure = style.canvas(lines * (0.21 * len(generations) + 0.4) + 0.2)
    panels = figure.subplots(lines, 2, squeeze=False, sharex=True, sharey=True)
    highest = max(200.0, float(means["mape_percent"].max()) * 1.3)
    for place, axes in enumerate(panels.flatten()):
        if place >= len(shown):
            axes.set_axis_off()
            continue
        part = means[means["group"] == shown[place]]
        style.percent_axis(axes.xaxis, lowest=3.0, highest=highest)
        axes.set_xticks([5, 10, 20, 50, 100], labels=["5", "10", "20", "50", "100"])
        axes.set_ylim(len(generations) - 0.4, -0.6)
        axes.set_yticks(range(len(generations)), generations)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelbottom=place >= len(shown) - 2)
        axes.grid(axis="x")
        n = int(part[part["kind"] == LEFT_OUT].groupby("generation")["n"].max().sum())
        axes.set_title(f"{FAMILIES[shown[place]]}, n = {n / 1e3:,.0f} thousand", fontsize=style.MINOR_PT, pad=2)
        for name in predictors:
            for kind, shift in ((LEFT_OUT, -0.12), (FORWARD, 0.2)):
                mine = part[(part["predictor"] == name) & (part["kind"] == kind)]
                if kind == FORWARD and name == "roofline":
                    continue  # trained on nothing: the same either way
                y = [generations.index(one) + shift for one in mine["generation"]]
                look = style.marks(name) | ({"markerfacecolor": "none"} if kind == FORWARD else {})
                axes.plot(mine["mape_percent"].clip(3.0), y, linestyle="none", **look)
        if place >= len(shown) - 2:
            axes.set_xlabel("Mean absolute error (%)")
    mine = means[(means["kind"] == LEFT_OUT) & (means["predictor"] == "tilecast")]
    errors = {str(group): float(part["mape_percent"].mean()) for group, part in mine.groupby("group")}
    ordered = sorted(errors, key=lambda group: errors[group])
    best, worst = (f"{naming.significant(errors[end], 2)} %" for end in (ordered[0], ordered[-1]))
    title = (
        f"On a GPU generation nobody measured, mean errors reach from {best} ({FAMILIES[ordered[0]].lower()}) to "
        f"{worst} ({FAMILIES[ordered[-1]].lower()})"
    )
    n = int(table[(table["kind"] == LEFT_OUT) & (table["predictor"] == "tilecast")]["n"].sum())
    style.frame(
        figure,
        title,
        f"n = {n:,} kernels of nine GPUs, each generation left out of fitting in turn. Hollow: "
        "forward in time, only older generations known. GPUs of a generation count alike. Experts: Triton's "
        "kernel on all GPUs, or whichever vLLM picks.",
        predictors,
    )
    caption = (
        f"Mean absolute percentage error on {n:,} kernels of the default framework, calls of all lengths, each "
        "GPU generation left out of training in turn (filled) or forecast from older ones only (hollow)."
    )
    words = "; ".join(f"{FAMILIES[group]} {naming.significant(value)} %" for group, value in errors.items())
    return style.Picture(figure, means, title, caption, f"{title}. Tilecast, mean of generations: {words}.", n)
