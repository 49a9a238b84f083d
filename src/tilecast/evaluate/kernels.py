"""Every predictor on kernels it was not trained on: the artifact's held-out rows, and two sweeps of sizes."""

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
from tilecast.tables.declared.evaluation import KERNEL_ERRORS, UTILISATION
from tilecast.tables.io import check, empty

LEARNED = ("bmm", "linear", "elementwise", "softmax", "norm")
MEASURED = "measured"
KERNEL_GROUP = ["predictor", "family", "device", "gpu"]

# A sweep: one dimension runs, the others are BERT-Large's own (a projection of the hidden state, and the product
# of queries and keys); the artifact measured both on a GPU all train on and on the newest it holds out.
SWEEPS: dict[str, tuple[str, dict[str, int]]] = {
    "linear": ("m", {"b": 1, "n": 1024, "k": 1024}),
    "bmm": ("b", {"m": 512, "n": 512, "k": 64}),
}
SWEPT_DEVICES = ("NVIDIA_A100-PCIE-40GB", "NVIDIA_H100_80GB_HBM3")
STEPS = 160

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


def utilisation(
    kernels: pd.DataFrame,
    peaks: Mapping[str, Device],
    forecasters: Sequence[Forecaster],
    trained: set[str] | None = None,
) -> pd.DataFrame:
    """The `utilisation` table: share of the rate that `peaks` states, over SWEEPS, measured and forecast.

    Forecasts are made at every size measured among the held-out rows, and between. `trained` as for kernel_errors.
    """
    trained = trained or set(kernels.loc[kernels["split"] == "train", "device"])
    parts = []
    for family, (swept, fixed) in SWEEPS.items():
        mine = kernels[(kernels["family"] == family) & (kernels["split"] == "test")]
        mine = mine[(mine[list(fixed)] == pd.Series(fixed)).all(axis=1)]
        for name in SWEPT_DEVICES:
            rows = mine[mine["device"] == name]
            if rows.empty:
                continue
            peak = peaks[name].peak_flops_per_s("fp32", matrix=True)
            measured = rows.groupby(swept, as_index=False)["latency_ms"].median().assign(source=MEASURED)
            ends = measured[swept].min(), measured[swept].max()
            sizes = np.union1d(np.geomspace(*ends, STEPS).round().astype(int), measured[swept])
            sweep = pd.DataFrame({swept: sizes, "family": family, "op": family}).assign(**fixed)
            forecasts = [
                sweep[[swept]].assign(
                    latency_ms=one.predict(_alone(sweep), devices[name])["latency_ms"], source=one.name
                )
                for one, devices in forecasters
            ]
            part = pd.concat([measured, *forecasts], ignore_index=True).rename(columns={swept: "size"})
            flops = 2.0 * part["size"] * np.prod(list(fixed.values()))
            part["share_percent"] = 100 * flops / (part["latency_ms"] / 1e3) / peak
            gpu = SEEN if name in trained else UNSEEN
            parts.append(part.assign(device=name, gpu=gpu, family=family, swept=swept))
    if not parts:
        return empty(UTILISATION)
    table = pd.concat(parts, ignore_index=True)
    # A utilisation that fell to zero is an infinite rate: no point on the curve.
    table = table[np.isfinite(table["share_percent"])]
    return check(table, UTILISATION, "utilisation table")
