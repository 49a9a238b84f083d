"""Share of the peak fp32 rate that matrix products reach over a sweep of one dimension, measured and forecast.

On a GPU of the training set and on a held-out one.
"""

import matplotlib.ticker
import pandas as pd

from tilecast.base.statistics import absolute_error_percent
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/evaluation/utilisation.csv": "evaluation.utilisation"}
GROUP, TITLE, ORDER = "Predictors", "Utilisation over size", 130

DRAWN = ("roofline", "neusight", "tilecast")
SIZES = {"m": "rows m", "b": "batch b"}


def mean_errors(drawn: pd.DataFrame) -> tuple[pd.Series, list[str], bool]:
    """Mean errors by family and predictor on held-out GPUs, or on all where none is; these GPUs; which it was."""
    measured = drawn["source"] == "measured"
    keys = ["device", "family", "size"]
    both = drawn[~measured].merge(drawn[measured], on=keys, suffixes=("", "_measured"))
    both["error"] = absolute_error_percent(both["latency_ms"], both["latency_ms_measured"])
    held = both[both["gpu"] == "held out"]
    judged = held if len(held) else both
    means = judged.groupby(["family", "source"])["error"].mean()
    return means, naming.ordered(naming.DEVICES, judged["device"]), len(held) > 0


def draw(utilisation: pd.DataFrame) -> style.Picture:
    """A row of panels a family, a column a GPU; measured points, a line a predictor over a sweep of sizes."""
    drawn = utilisation[utilisation["source"].isin(("measured", *DRAWN))].reset_index(drop=True)
    if drawn.empty:
        return style.empty_panel(TITLE)
    predictors = naming.ordered(naming.PREDICTORS, set(drawn["source"]) - {"measured"})
    families, devices = style.in_order(drawn, "family", "device")
    figure = style.canvas(1.75 * len(families))
    panels = figure.subplots(len(families), len(devices), squeeze=False, sharey=True, sharex="row")
    highest = max(105.0, min(160.0, float(drawn["share_percent"].max()) * 1.04))
    for family, line in zip(families, panels, strict=True):
        for device, axes in zip(devices, line, strict=True):
            part = drawn[(drawn["family"] == family) & (drawn["device"] == device)].sort_values("size")
            axes.set(ylim=(0, highest))
            axes.set_yticks([0, 25, 50, 75, 100])
            axes.grid(axis="y")
            if part.empty:
                axes.text(0.5, 0.5, "not measured", ha="center", color=style.MUTED, transform=axes.transAxes)
                continue
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(base=8))
            axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
            for name in predictors:
                mine = part[part["source"] == name]
                axes.plot(mine["size"], mine["share_percent"], linewidth=1.2, color=naming.colour(name))
            found = part[part["source"] == "measured"]
            dots = {"linestyle": "none", "marker": "o", "markersize": 3.2, "color": style.INK, "zorder": 5}
            axes.plot(found["size"], found["share_percent"], **dots)
            label = f"{naming.device_name(device)} ({part['gpu'].iloc[0]}), n = {len(found)}"
            axes.set_title(label, pad=2, fontsize=style.MINOR_PT)
            swept = str(part["swept"].iloc[0])
            axes.set_xlabel(f"{naming.display(naming.FAMILIES, family)}: {SIZES.get(swept, swept)}", fontsize=8)
    figure.supylabel("Share of peak FLOP/s (%)", fontsize=9)
    keys = [
        style.mark_key("measured", style.INK, "o", markersize=3.2),
        *(style.line_key(naming.predictor_name(name), naming.colour(name)) for name in predictors),
    ]
    return style.finish(figure, drawn, _finding(drawn, families), keys=keys, columns=4)


def _finding(drawn: pd.DataFrame, families: list[str]) -> style.Finding:
    """The predictor nearest the measurements on held-out GPUs, for each family."""
    means, devices, held_out = mean_errors(drawn)
    where = " and ".join(map(naming.device_name, devices))
    errors = {naming.display(naming.FAMILIES, name): means[name].to_dict() for name in families if name in means}
    parts = []
    for family, of in errors.items():
        error, name = min((error, name) for name, error in of.items())
        parts.append(f"{naming.predictor_name(name)} on {family.lower()} ({style.percent(error)} off)")
    title = f"Nearest to the measurements on {where}{', held out' if held_out else ''}: {', '.join(parts)}"
    n = int((drawn["source"] == "measured").sum())
    note = (
        f"n = {n} measured kernels, fp32, none of them trained on. Linear: 1,024 inputs and outputs; batched: "
        "512 × 512 × 64, one matrix a head and sequence."
    )
    caption = (
        "Share of the peak fp32 rate reached by matrix products of BERT-Large's shapes over a sweep of one "
        f"dimension: {n} measured kernels (points) on a GPU of the training set and on a held-out one, and "
        "forecasts (lines) at the measured sizes and between. Launch counts as the measuring harness counts it."
    )
    detail = "; ".join(f"{family}: {style.worded(of)}" for family, of in errors.items())
    return style.Finding(title, note, caption, f"{title}. Mean errors on {where}: {detail}.", n)
