"""Rows of signed errors around the measured value: what the fusion, distributed and AMD figures share."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tilecast.base.statistics import error_percent
from tilecast.present.figures import style
from tilecast.tables import naming

LIMIT_PERCENT = 100  # larger errors are drawn as an arrow at this edge, with their value
BAND_PERCENT = 20


def with_signed(errors: pd.DataFrame) -> pd.DataFrame:
    """The cells with `signed_percent`: positive where the forecast is too long."""
    return errors.assign(signed_percent=error_percent(errors["predicted_ms"], errors["measured_ms"]))


def reach(values: pd.Series) -> float:
    """Half-width of the shared axis: a tenth beyond the largest value, but never beyond LIMIT_PERCENT."""
    return float(min(LIMIT_PERCENT, max(30.0, 1.1 * values.abs().max())))


def beyond(values: pd.Series) -> str:
    """What the figure's note says of values at the edge."""
    count = int((values.abs() > LIMIT_PERCENT).sum())
    words = f" {count} of {len(values)} beyond ±{LIMIT_PERCENT} % are arrows at the edge, with their value."
    return words if count else ""


def panel(axes: Axes, rows: Sequence[str], points: pd.DataFrame, predictors: Sequence[str], limit: float) -> None:
    """`points` (row: place in `rows`; predictor; signed_percent) about the line of the measured value."""
    axes.set_xlim(-limit, limit)
    axes.axvspan(-BAND_PERCENT, BAND_PERCENT, color="#f0f0f0", zorder=0)
    axes.axvline(0, color=style.INK, linewidth=1.4, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")
    style.rows(axes, rows, lines=True)
    for name, shift in style.lanes(predictors):
        mine = points[points["predictor"] == name]
        far = mine["signed_percent"].abs() > limit
        look = style.marks(name)
        y = mine["row"].astype(float) + shift
        axes.plot(mine["signed_percent"][~far], y[~far], linestyle="none", **look)
        for value, height in zip(mine["signed_percent"][far], y[far]):
            side = 1 if value > 0 else -1
            arrow = look | {"marker": ">" if side > 0 else "<"}
            axes.plot([side * limit], [height], linestyle="none", clip_on=False, **arrow)
            axes.annotate(
                f"{value:+.0f} %",
                (side * limit, height),
                xytext=(-5 * side, 0),
                textcoords="offset points",
                ha="right" if side > 0 else "left",
                va="center",
                fontsize=style.MINOR_PT - 2,
                color=naming.colour(name),
            )


def finish(figure: Figure, data: pd.DataFrame, found: style.Finding, predictors: Sequence[str]) -> style.Picture:
    """The picture, the measured value in its key."""
    measured = style.line_key("Measured", style.INK, linewidth=1.4)
    return style.finish(figure, data, found, predictors, keys=[measured], columns=4)
