"""What figures say about the rows they draw: means, medians, shares and quantiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tilecast.evaluate.statistics import mean_by


def shares_within(cells: pd.DataFrame, percent: float) -> dict[str, float]:
    """Percent of each predictor's forecasts whose error is at most `percent`."""
    return mean_by(cells.assign(within=100.0 * (cells["ape_percent"] <= percent)), "within")


def mean_of(values: pd.Series) -> float:
    """The mean, as a plain number."""
    return float(values.mean())


def mean_shares(shares: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Means over the cells of each device and model, and over all cells."""
    return shares.groupby(["device", "model"]).mean(), shares.mean()


def mean_errors(sizes: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean error over all calls, by the columns `keys`: the mean of each row, weighted by its count."""
    weighted = sizes.assign(sum=sizes["mape_percent"] * sizes["n"]).groupby(keys, sort=False)
    lines = weighted.agg(n=("n", "sum"), sum=("sum", "sum")).reset_index()
    lines["mape_percent"] = lines.pop("sum") / lines["n"]
    return lines


def noise_floor(noise: pd.DataFrame) -> float:
    """How far frameworks lie apart on the same kernel, in percent: the mean over bf16 products."""
    return mean_of(noise[(noise["family"] == "gemm") & (noise["dtype"] == "bf16")]["mean_percent"])


def log_ratios(kernels: pd.DataFrame) -> tuple[pd.Series, float]:
    """Logarithm of forecast over measured, and the ratio beyond which few kernels lie."""
    logs = (kernels["predicted_ms"] / kernels["measured_ms"]).map(np.log)
    return logs, float(np.exp(np.quantile(np.abs(logs), 0.98))) * 1.5


def spreads(logs: pd.Series, part: pd.DataFrame) -> dict[Any, list[float]]:
    """The 10th, 50th and 90th percentile of forecast over measured for every family and predictor."""
    groups = logs[part.index].groupby([part["family"], part["predictor"]])
    return {key: list(np.exp(values.quantile([0.1, 0.5, 0.9]))) for key, values in groups}


def median_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """Median throughput of the runs on a GPU, in fp32 and not compiled, by model, GPU and node of the memory."""
    real = runs[(runs["status"] == "ok") & (runs["device"] == "cuda")]
    real = real[(real["dtype"] == "fp32") & ~real["compiled"]]
    return real.groupby(["model", "gpu", "memory_node"])["samples_per_s"].median().reset_index()


def nearly_all(values: pd.Series) -> float:
    """What all but one in two hundred of the values do not exceed."""
    return float(values.quantile(0.995))
