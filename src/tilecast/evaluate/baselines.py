"""Simple rivals of a forecast, fitted on the same kernels: two or three numbers a family, or a look-up.

- `line`: launch + operations / a + bytes / b; a and b as shares of the GPU's own peaks.
- `efficiencies`: launch + roofline over the median efficiency of kernels bound by operations, or by bytes.
- `nearest`: the kernel of the nearest shape on the nearest GPU, times the ratio of both rooflines.
- `grid`: the same on every other GPU, their geometric mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.statistics import absolute_error_percent

LASTING = 10
RIVALS = ("line", "efficiencies", "nearest", "grid")


class Work(NamedTuple):
    """Kernels on a GPU: log2 of what they are told apart by, and milliseconds at the GPU's specified peaks."""

    shape: Array  # (rows, dimensions)
    compute_ms: Array
    memory_ms: Array

    @property
    def roofline_ms(self) -> Array:
        """The longer of both."""
        return np.maximum(self.compute_ms, self.memory_ms)

    def where(self, rows: Array) -> Work:
        """Some of the kernels."""
        return Work(self.shape[rows], self.compute_ms[rows], self.memory_ms[rows])


Timed = tuple[Work, Array]  # kernels of one GPU and the milliseconds they were measured at


def line(known: Sequence[Timed]) -> Callable[[Work], Array]:
    """Launch + operations / a + bytes / b by non-negative least squares on relative errors; GPUs count alike."""
    from scipy.optimize import nnls

    rows, share = [], []
    for work, measured in known:
        columns = [np.ones(len(measured)), work.compute_ms, work.memory_ms]
        rows.append(np.stack(columns, axis=1) / measured[:, None])
        share.append(np.full(len(measured), len(measured) ** -0.5))
    weight = np.concatenate(share)
    launch, compute, memory = nnls(np.concatenate(rows) * weight[:, None], weight)[0]
    return lambda work: np.asarray(launch + compute * work.compute_ms + memory * work.memory_ms)


def efficiencies(known: Sequence[Timed]) -> Callable[[Work], Array]:
    """The shortest time measured + the roofline times two medians of time over roofline, by what bounds a kernel.

    Medians are of kernels that last LASTING launches at least: those that efficiencies matter for.
    """
    launch = float(np.median([measured.min() for _, measured in known]))
    ratios: dict[bool, list[Array]] = {True: [], False: []}
    for work, measured in known:
        lasting = measured > LASTING * launch
        for bound, found in ratios.items():
            some = lasting & ((work.compute_ms >= work.memory_ms) == bound)
            found.append((measured[some] - launch) / work.roofline_ms[some])
    every = [np.concatenate(found) for found in ratios.values()]
    compute, memory = (float(np.median(ratio if len(ratio) else np.concatenate(every))) for ratio in every)
    return lambda work: launch + work.roofline_ms * np.where(work.compute_ms >= work.memory_ms, compute, memory)


def nearest(known: Sequence[Timed]) -> Callable[[Work], Array]:
    """The nearest shape measured on each GPU, times the ratio of both rooflines; the geometric mean of GPUs."""
    from scipy.spatial import cKDTree

    trees = [(cKDTree(work.shape), measured / work.roofline_ms) for work, measured in known]

    def forecast(work: Work) -> Array:
        logs = [np.log(beyond[tree.query(work.shape)[1]]) for tree, beyond in trees]
        return np.asarray(work.roofline_ms * np.exp(np.mean(logs, axis=0)))

    return forecast


def rivals(known: Mapping[str, Timed], like: str) -> dict[str, Callable[[Work], Array]]:
    """Every rival fitted on the GPUs `known`, of which `like` is the nearest to the one forecast."""
    every = list(known.values())
    return {
        "line": line(every),
        "efficiencies": efficiencies(every),
        "nearest": nearest([known[like]]),
        "grid": nearest(every),
    }


def compared(
    about: Mapping[str, object], measured: Array, forecasts: Mapping[str, Array], ours: str
) -> pd.DataFrame:
    """A row a forecast: its errors, and on what share of the cases `ours` is the closer one."""
    own = absolute_error_percent(forecasts[ours], measured)
    rows = []
    for name, forecast in forecasts.items():
        error = absolute_error_percent(forecast, measured)
        closer = np.nan if name == ours else 100 * float(np.mean(own < error))
        means = {"mape_percent": float(np.mean(error)), "median_percent": float(np.median(error))}
        rows.append({**about, "predictor": name, "n": len(measured), **means, "closer_percent": closer})
    return pd.DataFrame(rows)
