"""Intervals by suite: the share of measurements inside, what chance alone allows, and sharpness beside a constant.

Sharpness is Winkler's interval score (Journal of the American Statistical Association 67, 1972, 187-191) of the
logarithm of measured over forecast: the interval's width, and 2 / (1 - level) times what lies outside it. The
constant is one width for all: the share `level` of the sizes of the residuals of all other sources.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.evaluate.coverage import SEEN, UNSEEN
from tilecast.evaluate.errors import SEEN_DEVICES
from tilecast.evaluate.statistics import ALL
from tilecast.predict.interval import LEVEL
from tilecast.tables.declared.evaluation import INTERVAL_SUITES
from tilecast.tables.io import check, empty
from tilecast.tables.naming import vendor

Ends = Callable[[Array], tuple[float, float]]
TARGET = 0.04  # either side of the share an interval claims
COLLECTIVES_LEVEL = 0.9
BAND = 0.95  # of independent measurements, so many groups lie in the band that chance allows
ROWS = ["suite", "group", "source", "level", "residual", "low", "high"]


def score(residual: Array, low: Array, high: Array, level: float = LEVEL) -> Array:
    """Winkler's score of each interval, lower is better."""
    outside = np.maximum(low - residual, 0) + np.maximum(residual - high, 0)
    return high - low + 2 / (1 - level) * outside


def one_width(residual: Array, level: float = LEVEL) -> tuple[float, float]:
    """The same width on both sides that holds `level` of the residuals."""
    width = float(np.quantile(np.abs(residual), level, method="inverted_cdf"))
    return -width, width


def two_ends(residual: Array, level: float = LEVEL) -> tuple[float, float]:
    """Ends beyond which half of the rest of the residuals lies on either side."""
    low, high = np.quantile(residual, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def left_out(residual: Array, source: Array, ends: Ends) -> tuple[Array, Array]:
    """For every residual the ends made of all other sources' residuals."""
    low, high = np.full(len(residual), np.nan), np.full(len(residual), np.nan)
    for one in np.unique(source):
        mine = source == one
        if not mine.all():
            low[mine], high[mine] = ends(residual[~mine])
    return low, high


def claimed(
    suite: object, group: object, source: object, table: pd.DataFrame, level: float = LEVEL
) -> pd.DataFrame:
    """Rows to weigh, of a table with measured_ms, forecast_ms, low_ms and high_ms."""
    logs = {
        "residual": np.log(table["measured_ms"] / table["forecast_ms"]),
        "low": np.log(table["low_ms"] / table["forecast_ms"]),
        "high": np.log(table["high_ms"] / table["forecast_ms"]),
    }
    about = {"suite": suite, "group": group, "source": source, "level": level}
    return pd.DataFrame(about | logs, index=table.index)[ROWS]


def cells_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Whole models on one GPU: by GPU, NVIDIA's trained on and not, and AMD's; each GPU is a source."""
    cells = cells[cells["predictor"] == "tilecast"].rename(columns={"predicted_ms": "forecast_ms"})
    kind = np.where(cells["device"].isin(SEEN_DEVICES), f"GPU {SEEN}", f"GPU {UNSEEN}")
    kind = np.where(cells["device"].map(vendor) == "NVIDIA", kind, "GPU of AMD")
    return claimed([f"one GPU, {one}" for one in kind], cells["device"], cells["device"], cells)


def step_rows(cases: pd.DataFrame) -> pd.DataFrame:
    """Training steps on many GPUs: who published them is a group and a source."""
    return claimed("training steps", cases["suite"], cases["suite"], cases)


def collective_rows(cells: pd.DataFrame) -> pd.DataFrame:
    """Collectives on systems whose curves were not fitted: a system is a group and a source."""
    cells = cells[(cells["basis"] == "spec-only")].rename(columns={"held_out_ms": "forecast_ms"})
    return claimed("collectives", cells["system"], cells["system"], cells, COLLECTIVES_LEVEL)


def serving_rows(
    points: pd.DataFrame, intervals: Callable[[pd.DataFrame, str], tuple[Array, Array]]
) -> pd.DataFrame:
    """Serving: by kind of model and engine; a model on a GPU is a source, left out of its own interval."""
    points, parts = points[points["left_out"].astype(bool)], []
    for what, words in (("ttft", "serving, first token"), ("tpot", "serving, output token")):
        low, high = intervals(points, what)
        logs = {"residual": np.log(points[f"measured_{what}_ms"] / points[f"{what}_ms"]), "low": low, "high": high}
        about = {"suite": words, "group": points["kind"] + ", " + points["framework"], "level": LEVEL}
        parts.append(pd.DataFrame(about | logs | {"source": points["model"] + points["device"]})[ROWS])
    return pd.concat(parts)


def suite_table(rows: pd.DataFrame, counted: pd.DataFrame) -> pd.DataFrame:
    """The `interval_suites` table. `counted` has suites of which only counts are kept: no score there."""
    rows = rows.dropna(subset=["low", "high"])
    if rows.empty and counted.empty:
        return empty(INTERVAL_SUITES)
    found = []
    for suite, part in rows.groupby("suite", sort=False):
        level, residual, source = (
            float(part["level"].iloc[0]),
            part["residual"].to_numpy(),
            part["source"].to_numpy(),
        )
        constant = score(residual, *left_out(residual, source, lambda some: one_width(some, level)), level)  # noqa: B023
        own = score(residual, part["low"].to_numpy(), part["high"].to_numpy(), level)
        held = (part["low"] <= part["residual"]) & (part["residual"] <= part["high"])
        scored = part.assign(own=own, constant=constant, held=held)
        for group, some in [(ALL, scored), *scored.groupby("group", sort=True)]:
            sizes = {"n": len(some), "sources": some["source"].nunique(), "inside": int(some["held"].sum())}
            scores = {"winkler": some["own"].mean(), "winkler_constant": some["constant"].mean()}
            found.append({"suite": suite, "group": group, "level": level, **sizes, **scores})
    table = pd.concat([pd.DataFrame(found), counted], ignore_index=True)
    return check(_judged(table), INTERVAL_SUITES, "interval_suites table")


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Shares in percent, what chance allows, and a verdict."""
    from scipy.stats import binom

    n, level = table["n"], table["level"]
    share = table["inside"] / n
    low, high = (binom.ppf(tail, n, level) / n for tail in ((1 - BAND) / 2, (1 + BAND) / 2))
    held = (share - level).abs() <= TARGET + 1e-9
    chance = (share >= low) & (share <= high)
    gain = 100 * (1 - table["winkler"] / table["winkler_constant"].replace(0, np.nan))
    verdict = np.select([held, chance, share < level], ["held", "within chance", "too narrow"], "too wide")
    return table.assign(
        claimed_percent=100 * level,
        coverage_percent=100 * share,
        chance_low=100 * low,
        chance_high=100 * high,
        gain_percent=gain,
        verdict=verdict,
    )[list(INTERVAL_SUITES.columns)]


def counted_kernels(kernels: pd.DataFrame, protocol: pd.DataFrame) -> pd.DataFrame:
    """Suites of single kernels: single precision by family, half precision by generation left out."""
    ours = kernels[(kernels["predictor"] == "tilecast") & (kernels["device"] == ALL) & (kernels["gpu"] != ALL)]
    single = pd.DataFrame({"suite": "single kernels, GPU " + ours["gpu"], "group": ours["family"], "n": ours["n"]})
    single["inside"] = ours["n"] * ours["coverage_percent"] / 100
    left = protocol[(protocol["kind"] == "left out") & (protocol["predictor"] == "tilecast")]
    left = left.dropna(subset=["inside_percent"])
    suite = left["dtype"] + " " + left["family"] + ", generation left out"
    half = pd.DataFrame({"suite": suite, "group": left["generation"], "n": left["n"]})
    half["inside"] = left["n"] * left["inside_percent"] / 100
    half = half.groupby(["suite", "group"], as_index=False, sort=False).sum()
    both = pd.concat([single, half], ignore_index=True).assign(level=LEVEL)
    both = both.assign(sources=np.nan, winkler=np.nan, winkler_constant=np.nan)
    return both.assign(inside=both["inside"].round().astype(int), n=both["n"].astype(int))
