"""Kernel error on each training GPU when it was left out of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd

TABLES = {"results/predict/logo.csv": "predict.logo"}
GROUP = "Predictors"
TITLE = "Error on a GPU left out"
ORDER = 110
CAPTION = (
    "Mean absolute percentage error of the training GPUs' kernels, each GPU forecast by predictors trained on "
    "the others: the figures that compare designs; looks at held-out results are listed in "
    "docs/evidence/design-log.md. NeuSight's and Habitat's networks were trained for it by shorter recipes than "
    "those shipped."
)


def draw(logo: pd.DataFrame) -> style.Picture:
    """A panel a kernel family, a row a GPU left out, a point a predictor."""
    logo = logo[logo["n"] > 0].reset_index(drop=True)  # a record's figure without its kernels cannot be counted
    if logo.empty:
        return style.empty_panel("Error on a GPU left out of training")
    predictors = naming.ordered(naming.PREDICTORS, logo["predictor"])
    families = naming.ordered(naming.FAMILIES, logo["family"])
    devices = naming.ordered(naming.DEVICES, logo["device"])
    lines = -(-len(families) // 2)
    figure = style.canvas(lines * (0.2 * len(devices) + 0.3) + 0.35)
    panels = figure.subplots(lines, 2, squeeze=False, sharex=True, sharey=True)
    highest = max(200.0, float(logo["mape_percent"].max()) * 1.5)
    for place, axes in enumerate(panels.flatten()):
        if place >= len(families):
            axes.set_axis_off()
            continue
        part = logo[logo["family"] == families[place]]
        style.percent_axis(axes.xaxis, lowest=1.0, highest=highest)
        axes.set_ylim(len(devices) - 0.4, -0.6)
        axes.set_yticks(range(len(devices)), [naming.device_name(name) for name in devices])
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelbottom=place >= len(families) - 2)
        axes.grid(axis="x")
        n = int(part.groupby("device")["n"].max().sum())
        axes.set_title(f"{naming.display(naming.FAMILIES, families[place])}, n = {n:,}", weight="bold", pad=2)
        for name in predictors:
            mine = part[part["predictor"] == name]
            y = [devices.index(device) for device in mine["device"]]
            axes.plot(mine["mape_percent"].clip(1.0), y, linestyle="none", **style.marks(name))
        if place >= len(families) - 2:
            axes.set_xlabel("Mean absolute error (%)")

    whole = logo.groupby("predictor").filter(lambda part: len(part) == len(families) * len(devices))
    means = style.mean_by(whole if len(whole) else logo, "mape_percent")
    best = min(means, key=lambda name: (means[name], name))
    title = (
        f"On a GPU left out, {naming.predictor_name(best)} errs by {naming.significant(means[best])} % a kernel"
    )
    others = {name: value for name, value in means.items() if name != best}
    if others:
        second = min(others, key=lambda name: (others[name], name))
        title += f", {naming.predictor_name(second)} by {naming.significant(others[second])} %"
    n = int(logo.groupby(["family", "device"])["n"].max().sum())
    style.frame(
        figure,
        title,
        f"n = {n:,} kernels measured on {len(devices)} training GPUs, each left out in turn. In the title: mean "
        f"over families and GPUs. Roofline is not trained.{_missing(predictors)}",
        predictors,
    )
    caption = (
        f"Mean absolute percentage error of {n:,} measured kernels of the {len(devices)} training GPUs, each "
        "forecast by a predictor trained on the others. The figures that compare designs; no "
        "measurement of a held-out GPU enters them. NeuSight's and Habitat's networks were trained for it by "
        f"shorter recipes than those shipped. The scale is logarithmic.{_missing(predictors)}"
    )
    alt = f"{title}. Means over families and GPUs: {style.worded(means)}."
    return style.Picture(figure, logo, title, caption, alt, n)


def _missing(predictors: list[str]) -> str:
    """Which of this project's predictors have no such record, in words."""
    own = [name for name in naming.PREDICTORS if not naming.is_published(name) and name not in predictors]
    return f" Not left out in training, not shown: {', '.join(map(naming.predictor_name, own))}." if own else ""
