"""Mean absolute percentage error on the kernels of each training GPU, by predictors trained on the others.

These figures compare designs; evaluations on held-out data are listed in docs/evidence/design-log.md. NeuSight's
and Habitat's networks were trained for it by shorter recipes than those shipped.
"""

import pandas as pd

from tilecast.evaluate.statistics import mean_by
from tilecast.present.figures import style
from tilecast.tables import naming

TABLES = {"results/predict/logo.csv": "predict.logo"}
GROUP, TITLE, ORDER = "Predictors", "Error on a GPU left out", 110


def means_of_all(logo: pd.DataFrame) -> dict[str, float]:
    """Mean over families and GPUs of each predictor that forecast them all; of every predictor if none did."""
    full = logo["family"].nunique() * logo["device"].nunique()
    whole = logo.groupby("predictor").filter(lambda part: len(part) == full)
    return mean_by(whole if len(whole) else logo, "mape_percent")


def draw(logo: pd.DataFrame) -> style.Picture:
    """A panel a kernel family, a row a GPU left out, a point a predictor."""
    logo = logo[logo["n"] > 0].reset_index(drop=True)  # a record's figure without its kernels cannot be counted
    if logo.empty:
        return style.empty_panel(TITLE)
    predictors, families, devices = style.in_order(logo, "predictor", "family", "device")
    counts = logo.groupby(["family", "device"])["n"].max()
    figure, panels = style.grid(len(families), 2, 0.2 * len(devices) + 0.3, 0.35, sharex=True, sharey=True)
    highest = max(200.0, float(logo["mape_percent"].max()) * 1.5)
    for family, axes in zip(families, panels, strict=True):
        part = logo[logo["family"] == family]
        style.percent_axis(axes.xaxis, lowest=1.0, highest=highest)
        style.rows(axes, [naming.device_name(name) for name in devices])
        axes.grid(axis="x")
        axes.set_title(
            f"{naming.display(naming.FAMILIES, family)}, n = {counts[family].sum():,}", weight="bold", pad=2
        )
        for name in predictors:
            mine = part[part["predictor"] == name]
            y = [devices.index(device) for device in mine["device"]]
            axes.plot(mine["mape_percent"].clip(1.0), y, linestyle="none", **style.marks(name))
    style.label_lowest(panels, 2, "Mean absolute error (%)")
    return style.finish(figure, logo, _finding(logo, int(counts.sum()), predictors), predictors)


def _finding(logo: pd.DataFrame, n: int, predictors: list[str]) -> style.Finding:
    """The mean errors of the two best predictors, and which of this project's have no such record."""
    means = means_of_all(logo)
    best, *others = sorted(means, key=lambda name: (means[name], name))
    title = f"On a GPU left out, {naming.predictor_name(best)} errs by {style.percent(means[best])} a kernel"
    if others:
        title += f", {naming.predictor_name(others[0])} by {style.percent(means[others[0]])}"
    gpus = logo["device"].nunique()
    own = [name for name in naming.PREDICTORS if not naming.is_published(name) and name not in predictors]
    missing = f" Not left out in training, not shown: {', '.join(map(naming.predictor_name, own))}." if own else ""
    note = (
        f"n = {n:,} kernels measured on {gpus} training GPUs, each left out in turn. In the title: mean "
        f"over families and GPUs. Roofline is not trained."
    )
    caption = (
        f"Mean absolute percentage error of {n:,} measured kernels of the {gpus} training GPUs, each "
        "forecast by a predictor trained on the others. The figures that compare designs; no "
        "measurement of a held-out GPU enters them. NeuSight's and Habitat's networks were trained for it by "
        f"shorter recipes than those shipped. The scale is logarithmic."
    )
    alt = f"{title}. Means over families and GPUs: {style.worded(means)}."
    return style.Finding(title, note + missing, caption + missing, alt, n)
