"""Error on GPU generations left out of training, and forward in time, by family of kernels."""

import pandas as pd

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/modern/protocol.csv": "half_precision.protocol"}
GROUP, TITLE, ORDER = "Modern GPUs", "Generations left out", 140

FAMILIES = {
    "gemm/bf16": "Products, bf16",
    "gemm/fp8": "Products, fp8",
    "prefill/bf16": "Prefill attention",
    "decode/bf16": "Decode attention",
    "moe_triton/bf16": "Experts, one kernel",
    "moe/bf16": "Experts, any kernel",
}
LEFT_OUT, FORWARD = "left out", "forward"
LOWEST_PERCENT = 3.0


def mean_errors(protocol: pd.DataFrame) -> pd.DataFrame:
    """Mean error over the GPUs of a generation, for each family, predictor and way of leaving out."""
    table = protocol.assign(group=protocol["family"] + "/" + protocol["dtype"])
    groups = table[table["group"].isin(FAMILIES)].groupby(["kind", "group", "generation", "predictor"], sort=False)
    return groups.agg(n=("n", "sum"), mape_percent=("mape_percent", "mean")).reset_index()


def draw(protocol: pd.DataFrame) -> style.Picture:
    """A panel a family, a row a generation: points by predictor, a fainter mark for forward in time."""
    if protocol.empty:
        return style.empty_panel(TITLE, "the wheel of kernel timings was not fetched")
    means = mean_errors(protocol)
    generations = list(dict.fromkeys(protocol["generation"]))
    predictors = naming.ordered(naming.PREDICTORS, means["predictor"])
    shown = [name for name in FAMILIES if name in set(means["group"])]
    figure, panels = style.grid(len(shown), 2, 0.21 * len(generations) + 0.4, 0.2, sharex=True, sharey=True)
    highest = max(200.0, float(means["mape_percent"].max()) * 1.3)
    for family, axes in zip(shown, panels, strict=True):
        part = means[means["group"] == family]
        style.percent_axis(axes.xaxis, lowest=LOWEST_PERCENT, highest=highest)
        axes.set_xticks([5, 10, 20, 50, 100], labels=["5", "10", "20", "50", "100"])
        style.rows(axes, generations)
        axes.grid(axis="x")
        n = int(part[part["kind"] == LEFT_OUT].groupby("generation")["n"].max().sum())
        axes.set_title(f"{FAMILIES[family]}, n = {n / 1e3:,.0f} thousand", fontsize=style.MINOR_PT, pad=2)
        for name in predictors:
            for kind, shift in ((LEFT_OUT, -0.12), (FORWARD, 0.2)):
                mine = part[(part["predictor"] == name) & (part["kind"] == kind)]
                if kind == FORWARD and name == "roofline":
                    continue  # trained on nothing: the same either way
                y = [generations.index(one) + shift for one in mine["generation"]]
                look = style.marks(name) | ({"markerfacecolor": "none"} if kind == FORWARD else {})
                axes.plot(mine["mape_percent"].clip(LOWEST_PERCENT), y, linestyle="none", **look)
    style.label_lowest(panels, 2, "Mean absolute error (%)")
    ours = means[(means["kind"] == LEFT_OUT) & (means["predictor"] == "tilecast")]
    return style.finish(figure, means, _finding(ours), predictors)


def _finding(ours: pd.DataFrame) -> style.Finding:
    """The families and generations left out with the least and the largest error of Tilecast."""
    errors = mean_by(ours, "mape_percent", "group")
    best, worst = (
        f"{style.percent(row['mape_percent'], 2)} ({FAMILIES[row['group']].lower()}, {row['generation']})"
        for row in ours.sort_values("mape_percent").iloc[[0, -1]].to_dict("records")
    )
    title = f"On a GPU generation nobody measured, mean errors reach from {best} to {worst}"
    n = int(ours["n"].sum())
    note = (
        f"n = {n:,} kernels of nine GPUs, each generation left out of fitting in turn. Hollow: "
        "forward in time, only older generations known. GPUs of a generation count alike. Experts: Triton's "
        "kernel on all GPUs, or whichever vLLM picks."
    )
    caption = (
        f"Mean absolute percentage error on {n:,} kernels of the default framework, calls of all lengths, each "
        "GPU generation left out of training in turn (filled) or forecast from older ones only (hollow)."
    )
    words = style.listed((FAMILIES[group], value) for group, value in errors.items())
    return style.Finding(title, note, caption, f"{title}. Tilecast, mean of generations: {words}.", n)
