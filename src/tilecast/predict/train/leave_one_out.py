"""Leave one GPU out: how well a predictor forecasts the kernels of a training GPU it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from tilecast.base.statistics import absolute_error_percent
from tilecast.hardware.device import Device
from tilecast.predict.kernel import LARGE, MEASURED_FAMILIES, Predictor, complete
from tilecast.tables.declared.predict import LOGO
from tilecast.tables.io import empty


def evaluated(kernels: pd.DataFrame) -> pd.DataFrame:
    """The training kernels that count: the paper's families and its filter of large vector kernels."""
    rows = kernels[(kernels["split"] == "train") & kernels["family"].isin(MEASURED_FAMILIES)]
    keep = np.ones(len(rows), dtype=bool)
    for family, (b, m) in LARGE.items():
        keep &= ((rows["family"] != family) | (rows["b"] > b) & (rows["m"] > m)).to_numpy()
    return rows[keep]


def leave_one_out(
    fit: Callable[[pd.DataFrame], Predictor], kernels: pd.DataFrame, devices: Mapping[str, Device]
) -> pd.DataFrame:
    """Kernel MAPE of each family on each GPU, forecast by `fit(kernels of the other GPUs)`."""
    rows, parts = evaluated(kernels), []
    for name, held in rows.groupby("device", sort=True):
        predictor = fit(rows[rows["device"] != name])
        forecast = predictor.predict(complete(held), devices[str(name)])["latency_ms"]
        error = absolute_error_percent(forecast, held["latency_ms"])
        statistics = error.groupby(held["family"]).agg(n="size", mape_percent="mean").reset_index()
        parts.append(statistics.assign(predictor=predictor.name, device=name))
    if not parts:
        return empty(LOGO)
    return pd.concat(parts, ignore_index=True)[list(LOGO.columns)]
