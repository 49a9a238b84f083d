"""80 % intervals of serving times, made of measured points of other models and GPUs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.evaluate.suites import Ends, left_out, one_width, score, two_ends
from tilecast.tables.declared.half_precision import SERVING_INTERVALS
from tilecast.tables.io import empty

# Ends of serving times: from points of one kind of model or of all, and the same width on both sides or two ends.
FORMS: dict[str, tuple[str, Ends]] = {
    "one width, each kind": ("kind", one_width),
    "two ends, each kind": ("kind", two_ends),
    "one width, all": ("left_out", one_width),
    "two ends, all": ("left_out", two_ends),
}


def held_out_ends(points: pd.DataFrame, what: str, form: str) -> tuple[Array, Array]:
    """Ends of every point's residual, made of the points of all other models and GPUs."""
    by, ends = FORMS[form]
    low, high = (pd.Series(np.nan, points.index) for _ in range(2))
    for _, rows in points.groupby(by):
        residual = np.log((rows[f"measured_{what}_ms"] / rows[f"{what}_ms"]).to_numpy(dtype=float))
        low[rows.index], high[rows.index] = left_out(residual, (rows["model"] + rows["device"]).to_numpy(), ends)
    return low.to_numpy(dtype=float), high.to_numpy(dtype=float)


def best_form(points: pd.DataFrame, what: str) -> str:
    """The form of the least score on models and GPUs left out."""
    residual = np.log((points[f"measured_{what}_ms"] / points[f"{what}_ms"]).to_numpy(dtype=float))
    scores = {form: float(np.mean(score(residual, *held_out_ends(points, what, form)))) for form in FORMS}
    return min(scores, key=scores.__getitem__)


def judged_ends(points: pd.DataFrame, what: str) -> tuple[Array, Array]:
    """Ends for every model on a GPU whose form, too, was chosen without it."""
    source = points["model"] + points["device"]
    low, high = (pd.Series(np.nan, points.index) for _ in range(2))
    for one in source.unique():
        mine = (source == one).to_numpy()
        ends = held_out_ends(points, what, best_form(points[~mine], what))
        low[mine], high[mine] = (end[mine] for end in ends)
    return low.to_numpy(dtype=float), high.to_numpy(dtype=float)


def serving_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """80 % intervals of serving times: measured over forecast, with the GPU's generation left out.

    Points of one model on one GPU err alike: leaving each such group out chooses the form. The share held is that
    of points within the interval made of all other groups.
    """
    points, found = table[table["left_out"].astype(bool)], []
    if (points["model"] + points["device"]).nunique() < 2:
        return empty(SERVING_INTERVALS)
    for what in ("ttft", "tpot"):
        form = best_form(points, what)
        by, ends = FORMS[form]
        residual = np.log(points[f"measured_{what}_ms"] / points[f"{what}_ms"])
        low, high = held_out_ends(points, what, form)
        held = (low <= residual) & (residual <= high)
        for kind in sorted(points["kind"].unique()):
            mine = points["kind"] == kind
            some = points[mine | (by != "kind")]
            first, last = np.exp(ends(residual[some.index].to_numpy()))
            groups = (some["model"] + some["device"]).nunique()
            words = {"kind": kind, "what": what, "form": form, "n": len(some), "groups": groups}
            found.append(words | {"low_ratio": first, "high_ratio": last, "held_percent": 100 * held[mine].mean()})
    return pd.DataFrame(found)[list(SERVING_INTERVALS.columns)].sort_values(["kind", "what"], ignore_index=True)
