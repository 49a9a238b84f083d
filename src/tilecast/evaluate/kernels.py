"""Every predictor on kernels it was not trained on: the artifact's held-out rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tilecast.base.statistics import error_percent
from tilecast.evaluate.coverage import CLAIMED_PERCENT, SEEN, UNSEEN
from tilecast.evaluate.statistics import inside, joined
from tilecast.hardware.device import Device
from tilecast.predict.kernel import Predictor, complete
from tilecast.tables.declared.evaluation import KERNEL_ERRORS
from tilecast.tables.io import check, empty

LEARNED = ("bmm", "linear", "elementwise", "softmax", "norm")
KERNEL_GROUP = ["predictor", "family", "device", "gpu"]

# A predictor and the devices by the figures it was trained on: not all take the artifact's.
Forecaster = tuple[Predictor, Mapping[str, Device]]


def _alone(kernels: pd.DataFrame) -> pd.DataFrame:
    """Kernels as a harness measures them, one at a time: a predictor may count the launch it waits for."""
    return complete(kernels).assign(isolated=True)


def trained_on(path: str | os.PathLike[str]) -> set[str]:
    """The GPUs of a kernel table's `train` rows, which can be many millions."""
    from pyarrow import parquet

    rows = parquet.read_table(
        path, columns=["device"], filters=[("split", "==", "train")], read_dictionary=["device"]
    )
    return set(rows["device"].unique().to_pylist())


def kernel_errors(
    kernels: pd.DataFrame, forecasters: Sequence[Forecaster], trained: set[str] | None = None
) -> pd.DataFrame:
    """The `kernel_errors` table: errors on the `test` rows by family, GPU, and whether training knew the GPU.

    `trained` are the GPUs of the `train` rows where `kernels` lacks these. The roofline is not trained; it is told
    apart all the same, so that columns compare.
    """
    trained = trained or set(kernels.loc[kernels["split"] == "train", "device"])
    held = kernels[(kernels["split"] == "test") & kernels["family"].isin(LEARNED)]
    held = held.reset_index(drop=True)
    if held.empty:
        return empty(KERNEL_ERRORS)
    held["gpu"] = held["device"].isin(trained).map({True: SEEN, False: UNSEEN})
    named = held[["family", "device", "gpu", "latency_ms"]]  # of many millions of rows, no more than is needed
    parts = []
    for predictor, devices in forecasters:
        forecasts = [
            predictor.predict(_alone(part), devices[str(name)])[["latency_ms", "low_ms", "high_ms"]]
            for name, part in held.groupby("device")
        ]
        frame = named.join(pd.concat(forecasts).add_suffix("_forecast"))
        low, high = frame["low_ms_forecast"], frame["high_ms_forecast"]
        error = error_percent(frame["latency_ms_forecast"], frame["latency_ms"])
        hits = inside(frame["latency_ms"], low, high).astype(float).where(low.notna())
        parts.append(
            joined(
                frame.assign(predictor=predictor.name, error=error, size=error.abs(), inside=hits),
                KERNEL_GROUP,
                [("device",), ("device", "gpu")],
                n=("size", "size"),
                mape_percent=("size", "mean"),
                median_percent=("size", "median"),
                bias_percent=("error", "mean"),
                coverage_percent=("inside", "mean"),
            )
        )
    table = pd.concat(parts, ignore_index=True)
    table["coverage_percent"] *= 100
    table["claimed_percent"] = np.where(table["coverage_percent"].notna(), CLAIMED_PERCENT, np.nan)
    table = table.sort_values(KERNEL_GROUP, kind="stable")
    return check(table, KERNEL_ERRORS, "kernel_errors table")
