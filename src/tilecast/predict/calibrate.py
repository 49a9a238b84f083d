"""Calibration: measurements on a device correct its forecasts by one factor a kernel family and number format.

The factor's prior is that the forecast from the specification is right, as far as its own interval and the other
families say; what all families have in common is learned first. So a family with one measured kernel moves a
little, one with fifty follows its measurements, and one with none moves with the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.hardware.device import Device
from tilecast.predict.kernel import PRODUCT_FAMILIES, Predictor

Z80 = 1.2816  # half-width of an 80 % interval in standard deviations
PRIOR_SD = 0.3  # of log ratios, where a forecast claims no interval
LARGEST_SHIFT = 20.0  # of log latency: half a billion times
LEAST_SD = 0.05  # no group of kernels is forecast to less than 5 %, whatever few measurements say


@dataclass(frozen=True)
class Scales:
    """Shift of log latency and its 80 % half-width: of each (family, dtype) measured, and of any other."""

    groups: Mapping[tuple[str, str], tuple[float, float]]
    shift: float
    half_width: float
    n: int

    def of(self, family: str, dtype: str) -> tuple[float, float]:
        """(shift, half-width) of one group."""
        return self.groups.get((family, dtype), (self.shift, self.half_width))


def fit(family: Array, dtype: Array, measured_ms: Array, predicted_ms: Array, high_ms: Array) -> Scales:
    """Scales from kernels measured and forecast; `high_ms` is the forecast's 80 % interval end, NaN where none."""
    if len(measured_ms) == 0:
        return Scales({}, 0.0, PRIOR_SD * Z80, 0)
    ratio = np.log(np.asarray(measured_ms, dtype=float) / np.asarray(predicted_ms, dtype=float))
    keys = list(zip(map(str, family), map(str, dtype), strict=True))
    names = sorted(set(keys))
    group = np.array([names.index(key) for key in keys])
    count = np.bincount(group)
    mean = np.bincount(group, ratio) / count
    spare = len(ratio) - len(names)  # degrees of freedom left within the groups
    within = float(np.sum((ratio - mean[group]) ** 2) / spare) if spare else PRIOR_SD**2
    noise = max(within, LEAST_SD**2)
    claimed = np.log(np.asarray(high_ms, dtype=float) / np.asarray(predicted_ms, dtype=float)) / Z80
    claimed = np.where(np.isfinite(claimed) & (claimed > 0), claimed, PRIOR_SD)
    prior = (np.bincount(group, claimed) / count) ** 2
    trust = 1 / (prior + noise / count)
    # What all share: the uncorrected forecast, no shift at all, counts as one more family.
    shared = float(np.sum(trust * mean) / (np.sum(trust) + trust.mean()))
    around = float((np.sum((mean - shared) ** 2) + shared**2) / (len(names) + 1))
    left = np.maximum(prior, around)  # how far families lie from what they share
    post = 1 / (count / noise + 1 / left)
    shift = post * (count / noise * mean + shared / left)
    half = Z80 * np.sqrt(noise + post)
    groups = {name: (float(a), float(b)) for name, a, b in zip(names, shift, half, strict=True)}
    return Scales(groups, shared, float(Z80 * np.sqrt(noise + left.mean())), len(ratio))


def shifts(scales: Scales, family: Array, dtype: Array) -> tuple[Array, Array]:
    """Shift and half-width of each kernel."""
    found = np.array([scales.of(str(a), str(b)) for a, b in zip(family, dtype)]).reshape(-1, 2)
    return found[:, 0], found[:, 1]


class Calibrated:
    """A predictor whose forecasts are scaled by factors measured on one device."""

    def __init__(self, predictor: Predictor, scales: Scales) -> None:
        self.predictor, self.scales = predictor, scales
        self.name = predictor.name

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """The predictor's forecasts, scaled; arithmetic is never faster than the device's peak rate."""
        found = self.predictor.predict(kernels, device)
        dtype = kernels["dtype"].to_numpy() if "dtype" in kernels else np.full(len(kernels), "fp32")
        shift, half = shifts(self.scales, kernels["family"].to_numpy(), dtype)
        latency = found["latency_ms"].to_numpy(dtype=float) * np.exp(shift)
        if "flops" in kernels:
            matrix = kernels["family"].isin(PRODUCT_FAMILIES).to_numpy()
            peaks = {name: device.peak_flops_per_s(name, matrix=True) for name in np.unique(dtype)}
            peak = np.array([peaks[name] for name in dtype])
            floor = np.where(matrix, 1e3 * kernels["flops"].to_numpy(dtype=float) / peak, 0.0)
            latency = np.maximum(latency, floor)
        return found.assign(latency_ms=latency, low_ms=latency * np.exp(-half), high_ms=latency * np.exp(half))


def save(scales: Scales, device: str, predictor: str, path: Path) -> None:
    """Write scales as JSON, with the device and the predictor they belong to."""
    groups = [
        {"family": family, "dtype": dtype, "shift": shift, "half_width": half}
        for (family, dtype), (shift, half) in sorted(scales.groups.items())
    ]
    record = {"device": device, "predictor": predictor, "n": scales.n, "shift": scales.shift}
    record |= {"half_width": scales.half_width, "groups": groups}
    write_text(path, json.dumps(record, indent=2) + "\n")


def load(path: Path, device: str, predictor: str) -> Scales:
    """Scales as `save` wrote them; refused for another device or predictor."""
    record = read_json(path, "make it: tilecast measure calibrate")
    try:
        groups = {
            (str(one["family"]), str(one["dtype"])): (float(one["shift"]), float(one["half_width"]))
            for one in record["groups"]
        }
        scales = Scales(groups, float(record["shift"]), float(record["half_width"]), int(record["n"]))
        made_for = (record["device"], record["predictor"])
        known = [(scales.shift, scales.half_width), *groups.values()]
        if not all(abs(shift) < LARGEST_SHIFT and 0 <= half < LARGEST_SHIFT for shift, half in known):
            raise ValueError("a scale is out of range")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(path, f"holds no calibration ({error})", "make it: tilecast measure calibrate") from None
    if made_for != (device, predictor):
        problem = f"was made for {made_for[0]} and the predictor {made_for[1]}, not {device} and {predictor}"
        raise InputError(path, problem, "measure on that device")
    return scales
