"""Error statistics of groups of cells, every mean with its n, spread, bias, interval and correlation.

Roll-ups: `device` is a device, `NVIDIA`, `AMD` or `all`; `option` is an option, `distributed` (any four-GPU
layout) or `all`; `mode` and `distribution` have `all`. The paper's plain cells are `option` = none. A group
without cells has no row: a mean over nothing is not a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tilecast.tables.io import check
from tilecast.tables.naming import vendor

ALL = "all"
MOST_RESAMPLED = 5_000
DISTRIBUTED = "distributed"
DISTRIBUTED_OPTIONS = ("dp4", "tp4", "pp4_1", "pp4_4")

STATISTICS = (
    "n",
    "mape_percent",
    "median_percent",
    "p90_percent",
    "worst_percent",
    "bias_percent",
    "ci_low",
    "ci_high",
    "pearson",
    "spearman",
)

Floats = NDArray[Any]
Statistics = dict[str, float]


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


def _correlation(left: Floats, right: Floats) -> float:
    """Pearson's r; nan for fewer than three pairs or a side without spread."""
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.clip(np.corrcoef(left, right)[0, 1], -1, 1))


def statistics(cells: pd.DataFrame, resamples: int, confidence: float, seed: int) -> Statistics:
    """STATISTICS of a non-empty frame with `measured_ms`, `predicted_ms` and `ape_percent`."""
    measured = cells["measured_ms"].to_numpy(dtype=float)
    predicted = cells["predicted_ms"].to_numpy(dtype=float)
    error = cells["ape_percent"].to_numpy(dtype=float)
    low, high = bootstrap_interval(error, resamples, confidence, seed)
    ranks = [pd.Series(side).rank().to_numpy() for side in (measured, predicted)]
    values = (
        len(error),
        error.mean(),
        np.median(error),
        np.percentile(error, 90),
        error.max(),
        (100 * (predicted - measured) / measured).mean(),
        low,
        high,
        _correlation(measured, predicted),
        _correlation(ranks[0], ranks[1]),
    )
    return dict(zip(STATISTICS, values, strict=True))


def _groups(cells: pd.DataFrame, column: str) -> list[tuple[str, NDArray[np.bool_]]]:
    """The values of a column and its roll-ups, each with the mask of its cells."""
    values = cells[column]
    groups = [(str(value), (values == value).to_numpy()) for value in sorted(values.unique())]
    if column == "device":
        makers = values.map(vendor)
        groups += [(maker, (makers == maker).to_numpy()) for maker in sorted(makers.unique())]
    if column == "option":
        groups.append((DISTRIBUTED, values.isin(DISTRIBUTED_OPTIONS).to_numpy()))
    if column not in ("predictor", "phase", "operator_class"):  # a mean over these has no meaning
        groups.append((ALL, np.ones(len(cells), dtype=bool)))
    return groups


def grouped(
    cells: pd.DataFrame, columns: Sequence[str], resamples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """STATISTICS of every non-empty group of `columns`, roll-ups included."""
    choices = [_groups(cells, name) for name in columns]
    known: dict[bytes, Statistics] = {}
    rows = []
    for choice in product(*choices):
        chosen = np.logical_and.reduce([mask for _, mask in choice])
        if not chosen.any():
            continue
        # Many roll-ups hold the same cells (all of H100 is out of distribution): computed once.
        cells_of_group = np.packbits(chosen).tobytes()
        if cells_of_group not in known:
            known[cells_of_group] = statistics(cells[chosen], resamples, confidence, seed)
        names = dict(zip(columns, (value for value, _ in choice), strict=True))
        rows.append({**names, **known[cells_of_group]})
    frame = pd.DataFrame(rows, columns=[*columns, *STATISTICS])
    return frame.sort_values(list(columns), kind="stable").reset_index(drop=True)


def mape_table(errors: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """The `mape` table: predictor x device x mode x option x distribution."""
    columns = ("predictor", "device", "mode", "option", "distribution")
    return check(grouped(errors, columns, resamples, confidence, seed), "mape", "mape table")


def phase_table(errors: pd.DataFrame, resamples: int, confidence: float, seed: int) -> pd.DataFrame:
    """The `phase_mape` table: forward and backward errors of training cells."""
    columns = ("predictor", "device", "phase", "option", "distribution")
    return check(grouped(errors, columns, resamples, confidence, seed), "phase_mape", "phase_mape table")
