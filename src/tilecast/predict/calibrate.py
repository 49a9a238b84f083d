"""Calibration: measurements on a device correct its forecasts, the more the nearer a kernel is to those measured.

The log ratio of measured to forecast is a Gaussian process (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, algorithm 2.1) about zero, that is about the forecast as it is. Two kernels correct each other by
what all share, more in one family, a little more in one format, and most where forecast and bytes are alike.
How far forecasts are off, how far a measurement reaches, and how much is noise are chosen by the likelihood of the
measurements.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.hardware.device import Device
from tilecast.predict.kernel import PRODUCT_FAMILIES, Predictor, complete, moved_bytes

Z80 = 1.2816  # half-width of an 80 % interval in standard deviations
SHARED, FAMILY, FORMAT, NEAR, NEAR_IN_FAMILY = 0.5, 0.25, 0.05, 0.5, 0.5  # shares of the variance
SIZES, REACHES, NOISES = (0.1, 0.2, 0.4, 0.8, 1.6), (1.0, 2.0, 4.0, 8.0), (0.05, 0.1, 0.2, 0.4, 0.8)  # in logs
UNMEASURED = (0.3, 2.0, 0.1)  # size, reach and noise where nothing tells
LARGEST = 20.0  # of any logarithm: half a billion times
MOST = 400  # kernels used: more cost time and teach little


@dataclass(frozen=True)
class Scales:
    """Measured kernels: family and format, logs of forecast and bytes, log ratio; and size, reach and noise."""

    kinds: tuple[tuple[str, str], ...]
    at: tuple[tuple[float, float], ...]
    ratio: tuple[float, ...]
    law: tuple[float, float, float] = UNMEASURED
    _solved: list[Array] = field(default_factory=list, compare=False, repr=False)

    @property
    def n(self) -> int:
        """How many were measured."""
        return len(self.ratio)

    def of(self, family: Array, dtype: Array, predicted_ms: Array, moved: Array) -> tuple[Array, Array]:
        """Shift of log latency and its 80 % half-width, of each kernel; never beyond what was measured."""
        size, _, noise = self.law
        kinds, at = _points(family, dtype, predicted_ms, moved)
        variance = np.full(len(kinds), size**2 * (SHARED + FAMILY + FORMAT + NEAR + NEAR_IN_FAMILY) + noise**2)
        if not self.n:
            return np.zeros(len(kinds)), Z80 * np.sqrt(variance)
        if not self._solved:
            own = _covariance(self.kinds, np.array(self.at), self.kinds, np.array(self.at), self.law)
            lower = np.linalg.cholesky(own + noise**2 * np.eye(self.n))
            self._solved.extend((lower, np.linalg.solve(lower.T, np.linalg.solve(lower, np.array(self.ratio)))))
        lower, weights = self._solved
        across = _covariance(kinds, at, self.kinds, np.array(self.at), self.law)
        shift = np.clip(across @ weights, min(0.0, *self.ratio), max(0.0, *self.ratio))
        known = np.square(np.linalg.solve(lower, across.T)).sum(axis=0)
        return shift, Z80 * np.sqrt(np.maximum(variance - known, noise**2))


def _points(family: Array, dtype: Array, predicted_ms: Array, moved: Array) -> tuple[list[tuple[str, str]], Array]:
    logs = np.log([np.asarray(predicted_ms, dtype=float), np.maximum(np.asarray(moved, dtype=float), 1.0)])
    return list(zip(map(str, family), map(str, dtype), strict=True)), logs.T.reshape(-1, 2)


def _covariance(kinds: object, at: Array, others: object, there: Array, law: tuple[float, float, float]) -> Array:
    size, reach, _ = law
    left, right = (np.array(list(part), dtype="str").reshape(-1, 2) for part in (kinds, others))  # type: ignore[call-overload]
    same = left[:, None, 0] == right[None, :, 0]
    alike = same & (left[:, None, 1] == right[None, :, 1])
    near = np.exp(-np.square((at[:, None] - there[None]) / reach).sum(axis=2) / 2)
    shares = SHARED + FAMILY * same + FORMAT * alike + near * (NEAR + NEAR_IN_FAMILY * same)
    return np.asarray(size**2 * shares)


def fit(family: Array, dtype: Array, measured_ms: Array, predicted_ms: Array, moved: Array) -> Scales:
    """Scales from kernels measured, what was forecast of them, and the bytes they move."""
    if len(measured_ms) > MOST:
        chosen = np.random.default_rng(0).permutation(len(measured_ms))[:MOST]
        family, dtype, measured_ms, predicted_ms, moved = (
            np.asarray(part)[chosen] for part in (family, dtype, measured_ms, predicted_ms, moved)
        )
    kinds, at = _points(family, dtype, predicted_ms, moved)
    ratio = np.log(np.asarray(measured_ms, dtype=float)) - at[:, 0]
    best, law = -np.inf, UNMEASURED
    for reach in REACHES if len(ratio) else ():
        alike = _covariance(kinds, at, kinds, at, (1.0, reach, 0.0))
        for size, noise in product(SIZES, NOISES):
            lower = np.linalg.cholesky(size**2 * alike + noise**2 * np.eye(len(ratio)))
            likelihood = -0.5 * np.square(np.linalg.solve(lower, ratio)).sum() - np.log(np.diag(lower)).sum()
            if likelihood > best:
                best, law = float(likelihood), (size, reach, noise)
    places = tuple((float(x), float(y)) for x, y in at)
    return Scales(tuple(kinds), places, tuple(ratio.tolist()), law)


class Calibrated:
    """A predictor whose forecasts are corrected by what was measured on one device."""

    def __init__(self, predictor: Predictor, scales: Scales) -> None:
        self.predictor, self.scales = predictor, scales
        self.name = predictor.name

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """The predictor's forecasts, corrected; arithmetic is never faster than the device's peak rate."""
        frame = complete(kernels)
        found = self.predictor.predict(kernels, device)
        family, dtype = frame["family"].to_numpy(), frame["dtype"].to_numpy()
        before = found["latency_ms"].to_numpy(dtype=float)
        shift, half = self.scales.of(family, dtype, before, moved_bytes(frame))
        peaks = {name: device.peak_flops_per_s(name, matrix=True) for name in np.unique(dtype)}
        peak = np.array([peaks[name] for name in dtype])
        floor = np.where(np.isin(family, PRODUCT_FAMILIES), 1e3 * frame["flops"].to_numpy(dtype=float) / peak, 0.0)
        latency = np.maximum(before * np.exp(shift), floor)
        return found.assign(latency_ms=latency, low_ms=latency * np.exp(-half), high_ms=latency * np.exp(half))


def save(scales: Scales, device: str, predictor: str, path: Path) -> None:
    """Write scales as JSON, with the device and the predictor they belong to."""
    rows = zip(scales.kinds, scales.at, scales.ratio, strict=True)
    record = {"device": device, "predictor": predictor, "n": scales.n, "law": scales.law}
    record |= {"kernels": [[*kind, *at, ratio] for kind, at, ratio in rows]}
    write_text(path, json.dumps(record) + "\n")


def load(path: Path, device: str, predictor: str) -> Scales:
    """Scales as `save` wrote them; refused for another device or predictor."""
    record = read_json(path, "make it: tilecast measure calibrate")
    try:
        rows = [(str(a), str(b), float(x), float(y), float(z)) for a, b, x, y, z in record["kernels"]]
        size, reach, noise = (float(value) for value in record["law"])
        if len(rows) > MOST or not all(abs(value) < LARGEST for row in rows for value in row[2:3] + row[4:]):
            raise ValueError("a kernel is out of range")
        if not all(LARGEST > value >= least for value, least in ((size, 0.01), (reach, 0.1), (noise, 0.01))):
            raise ValueError("its law is out of range")
        if not all(0 <= row[3] < 2 * LARGEST + 10 for row in rows):
            raise ValueError("its bytes are out of range")
        made_for = (record["device"], record["predictor"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(path, f"holds no calibration ({error})", "make it: tilecast measure calibrate") from None
    if made_for != (device, predictor):
        problem = f"was made for {made_for[0]} and the predictor {made_for[1]}, not {device} and {predictor}"
        raise InputError(path, problem, "measure on that device")
    places = tuple((x, y) for _, _, x, y, _ in rows)
    return Scales(tuple((a, b) for a, b, *_ in rows), places, tuple(row[4] for row in rows), (size, reach, noise))
