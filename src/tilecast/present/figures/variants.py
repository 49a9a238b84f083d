"""Rows of signed errors around the measured value: what the fusion, distributed and AMD figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tilecast.present.figures import style
from tilecast.tables import naming

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LIMIT_PERCENT = 100  # larger errors are drawn as an arrow at this edge, with their value
BAND_PERCENT = 20


def with_signed(errors: pd.DataFrame) -> pd.DataFrame:
    """The cells with `signed_percent`: positive where the forecast is too long."""
    return errors.assign(signed_percent=100 * (errors["predicted_ms"] / errors["measured_ms"] - 1))


def reach(values: pd.Series) -> float:
    """Half-width of the shared axis: a tenth beyond the largest value, but never beyond LIMIT_PERCENT."""
    return float(min(LIMIT_PERCENT, max(30.0, 1.1 * values.abs().max())))


def beyond(values: pd.Series) -> str:
    """What the figure's note says of values at the edge."""
    count = int((values.abs() > LIMIT_PERCENT).sum())
    return (
        f" {count} of {len(values)} beyond ±{LIMIT_PERCENT} % are arrows at the edge, with their value."
        if count
        else ""
    )


def panel(axes: Axes, rows: Sequence[str], points: pd.DataFrame, predictors: Sequence[str], limit: float) -> None:
    """`points` (row: place in `rows`; predictor; value) about the line of the measured value, top row first."""
    axes.set(xlim=(-limit, limit), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0)
    axes.axvspan(-BAND_PERCENT, BAND_PERCENT, color="#f0f0f0", zorder=0)
    axes.axvline(0, color=style.INK, linewidth=1.4, zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")
    for place in range(1, len(rows)):
        axes.axhline(place - 0.5, color=style.FAINT, linewidth=0.5)
    for lane, name in enumerate(predictors):
        mine = points[points["predictor"] == name]
        shift = 0.0 if len(predictors) == 1 else 0.5 * lane / (len(predictors) - 1) - 0.25
        inside = mine[mine["value"].abs() <= limit]
        axes.plot(inside["value"], inside["row"].astype(float) + shift, linestyle="none", **style.marks(name))
        for row, value in mine.loc[mine["value"].abs() > limit, ["row", "value"]].itertuples(index=False):
            side = 1 if value > 0 else -1
            arrow = style.marks(name) | {"marker": ">" if side > 0 else "<"}
            axes.plot([side * limit], [row + shift], linestyle="none", clip_on=False, **arrow)
            axes.annotate(
                f"{value:+.0f} %",
                (side * limit, row + shift),
                xytext=(-5 * side, 0),
                textcoords="offset points",
                ha="right" if side > 0 else "left",
                va="center",
                fontsize=style.MINOR_PT - 2,
                color=naming.colour(name),
            )


def key() -> Line2D:
    """The key's entry for the measured value."""
    return Line2D([], [], color=style.INK, linewidth=1.4, label="Measured")
