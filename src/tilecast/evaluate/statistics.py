"""Statistics of groups of errors: summaries, roll-ups, intervals and correlations, each defined once.

Roll-ups: `device` is a device, `NVIDIA`, `AMD` or `all`; `option` is an option, `distributed` (any four-GPU
layout) or `all`; all other columns but RUNS_ALONE have `all`. The paper's plain cells are `option` = none. A group
without cells has no row: a mean over nothing is not a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tilecast.base.statistics import error_percent
from tilecast.tables.io import check, empty
from tilecast.tables.naming import vendor
from tilecast.tables.schema import Table

ALL = "all"
MOST_RESAMPLED = 5_000
DISTRIBUTED = "distributed"
DISTRIBUTED_OPTIONS = ("dp4", "tp4", "pp4_1", "pp4_4")
SUMMARY = ("n", "mape_percent", "median_percent", "p90_percent", "worst_percent", "bias_percent")
RUNS_ALONE = ("predictor", "phase", "operator_class")  # a mean over these has no meaning

Floats = NDArray[Any]
Statistics = dict[str, Any]

# Statistics of a figure by the names that claims and their other definitions use.
BY_NAME: dict[str, Callable[[Floats], float]] = {
    "mean": lambda values: float(values.mean()),
    "accuracy": lambda values: 100 - float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "p90": lambda values: float(np.percentile(values, 90)),
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
    "sum": lambda values: float(values.sum()),
    "count": lambda values: float(len(values)),
}


def error_summary(error: ArrayLike) -> Statistics:
    """Count, mean, median, 90th percentile and worst size of signed errors in percent, and their mean as bias.

    Missing errors do not count; without any error every figure is nan.
    """
    signed = np.asarray(error, dtype=float)
    signed = signed[~np.isnan(signed)]
    if not len(signed):
        return dict.fromkeys(SUMMARY, float("nan")) | {"n": 0}
    size = np.abs(signed)
    values = (size.mean(), np.median(size), np.percentile(size, 90), size.max(), signed.mean())
    return dict(zip(SUMMARY, (len(size), *map(float, values)), strict=True))


def summary_of(frame: pd.DataFrame, by: str | Sequence[str], error: str = "ape_percent") -> pd.DataFrame:
    """A row for every group of the columns `by`, sorted by them: the `error_summary` of the column `error`."""
    columns = [by] if isinstance(by, str) else list(by)
    groups = frame.groupby(columns)[error]
    rows = [dict(zip(columns, names, strict=True)) | error_summary(part) for names, part in groups]
    return pd.DataFrame(rows, columns=[*columns, *SUMMARY])


def mean_by(frame: pd.DataFrame, value: str, key: str = "predictor") -> dict[str, float]:
    """The mean of a column for every entry of the column `key`, sorted by it."""
    return {str(name): float(part.mean()) for name, part in frame.groupby(key)[value]}


def bootstrap_interval(values: Floats, resamples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; (nan, nan) for fewer than two values.

    Beyond MOST_RESAMPLED values it is the normal interval, which resampling approaches there, at any size.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    if len(values) > MOST_RESAMPLED:
        half = NormalDist().inv_cdf((1 + confidence) / 2) * values.std() / len(values) ** 0.5
        return float(values.mean() - half), float(values.mean() + half)
    # Seeded by n as well: a group's interval depends on its own cells alone, not on which groups came before it.
    draws = np.random.default_rng([seed, len(values)]).integers(0, len(values), (resamples, len(values)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values[draws].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def binomial_interval(inside: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share in percent: it neither collapses at all or none inside, nor leaves 0 to 100."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = inside / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * ((share * (1 - share) + spread / 4) / n) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def inside(measured: pd.Series, low: pd.Series, high: pd.Series) -> pd.Series:
    """Whether each measurement lies in its interval, ends included; False where there is no interval."""
    return (low <= measured) & (measured <= high)


def correlation(left: Floats, right: Floats) -> float:
    """Pearson's r; nan for fewer than three pairs or a side without spread."""
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.clip(np.corrcoef(left, right)[0, 1], -1, 1))


def rank(values: Floats) -> Floats:
    """The place of each value in ascending order, from 1; equal values share the mean of their places."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def statistics(cells: pd.DataFrame, resamples: int, confidence: float, seed: int) -> Statistics:
    """Summary, interval and correlations of the errors of a non-empty frame, by `measured_ms` and `predicted_ms`.

    Spearman's rank correlation is Pearson's of the ranks.
    """
    measured = cells["measured_ms"].to_numpy(dtype=float)
    predicted = cells["predicted_ms"].to_numpy(dtype=float)
    error = error_percent(predicted, measured, difference_first=True)
    low, high = bootstrap_interval(np.abs(error), resamples, confidence, seed)
    ranks = [rank(side) for side in (measured, predicted)]
    return error_summary(error) | {
        "ci_low": low,
        "ci_high": high,
        "pearson": correlation(measured, predicted),
        "spearman": correlation(*ranks),
    }


def _groups(cells: pd.DataFrame, column: str) -> list[tuple[str, NDArray[np.bool_]]]:
    """The values of a column and its roll-ups, each with the mask of its cells."""
    values = cells[column]
    groups = [(str(value), (values == value).to_numpy()) for value in sorted(values.unique())]
    if column == "device":
        makers = values.map(vendor)
        groups += [(maker, (makers == maker).to_numpy()) for maker in sorted(makers.unique())]
    if column == "option":
        groups.append((DISTRIBUTED, values.isin(DISTRIBUTED_OPTIONS).to_numpy()))
    if column not in RUNS_ALONE:
        groups.append((ALL, np.ones(len(cells), dtype=bool)))
    return groups


def rolled_up(
    cells: pd.DataFrame,
    columns: Sequence[str],
    needed: Sequence[str],
    statistic: Callable[[pd.DataFrame], Statistics],
) -> pd.DataFrame:
    """A row for every non-empty group of `columns`, roll-ups included, sorted: the `statistic` of its cells.

    It sees the columns `needed` alone.
    """
    rows, known = [], dict[bytes, Statistics]()
    values = cells[list(needed)]
    for choice in product(*(_groups(cells, name) for name in columns)):
        chosen = np.logical_and.reduce([mask for _, mask in choice])
        if not chosen.any():
            continue
        # Many roll-ups hold the same cells (all of H100 is out of distribution): computed once.
        cells_of_group = np.packbits(chosen).tobytes()
        if cells_of_group not in known:
            known[cells_of_group] = statistic(values[chosen])
        names = dict(zip(columns, (value for value, _ in choice), strict=True))
        rows.append(names | known[cells_of_group])
    return pd.DataFrame(rows).sort_values(list(columns), kind="stable", ignore_index=True)


def joined(
    frame: pd.DataFrame, by: Sequence[str], together: Sequence[Sequence[str]], **statistics: tuple[str, Any]
) -> pd.DataFrame:
    """pandas' named aggregations for every group of `by`, then with each set of columns of `together` as `all`.

    For tables too large for a mask a group, and for groups of which not every roll-up means something.
    """
    parts = [
        frame.assign(**dict.fromkeys(columns, ALL)).groupby(list(by), sort=True).agg(**statistics).reset_index()
        for columns in ((), *together)
    ]
    return pd.concat(parts, ignore_index=True)


def error_table(
    cells: pd.DataFrame, table: Table, *, resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """The declared table of statistics of `cells`, grouped by its key with all roll-ups.

    `mape`, `phase_mape`, `operator_errors` and `label_noise_mape` are such tables.
    """
    if cells.empty:
        return empty(table)
    needed = ("measured_ms", "predicted_ms")
    found = rolled_up(cells, table.key, needed, lambda part: statistics(part, resamples, confidence, seed))
    return check(found, table, f"{table} table")
