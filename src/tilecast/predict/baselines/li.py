"""Li et al. (2023): latency is linear in the work, one line a GPU and family; other GPUs by their bandwidth.

Matrix products: line in FLOPs. Vector kernels: line in bytes. For a GPU without measurements the reciprocal of the
slope (operations or bytes per second) is a line in the memory bandwidth, fitted over the measured GPUs, and the
intercept is zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.predict.kernel import (
    LARGE,
    MATRIX_FAMILIES,
    MEASURED_FAMILIES,
    complete,
    forecast_frame,
    moved_bytes,
    streamed_ms,
)
from tilecast.predict.weights import read_numbers, read_record

Lines = dict[str, dict[str, tuple[float, float]]]  # family -> device -> (slope in s, intercept in s)


class Li:
    """Lines fitted per device and family, and their extrapolation to devices without any."""

    name = "li"
    vendors = ("NVIDIA",)
    artifact_figures = True

    def __init__(self, lines: Lines, bandwidths: Mapping[str, float]) -> None:
        self.lines, self.bandwidths = lines, dict(bandwidths)

    @classmethod
    def fit(cls, kernels: pd.DataFrame, devices: Mapping[str, Device]) -> Li:
        """Ordinary least squares on the `kernels` table."""
        lines: Lines = {}
        for family in MEASURED_FAMILIES:
            rows = kernels[kernels["family"] == family]
            if family in LARGE:
                rows = rows[(rows["b"] > LARGE[family][0]) & (rows["m"] > LARGE[family][1])]
            lines[family] = {}
            for device, part in rows.groupby("device", sort=True):
                work = np.column_stack([_work(complete(part), family), np.ones(len(part))])
                slope, intercept = np.linalg.lstsq(work, part["latency_ms"].to_numpy() / 1e3)[0]
                lines[family][str(device)] = (float(slope), float(intercept))
        known = {name for family in lines.values() for name in family}
        return cls(lines, {name: devices[name].bandwidth_bytes_per_s for name in sorted(known)})

    @classmethod
    def load(cls, folder: Path) -> Li:
        """Read `lines.json` of a folder."""
        stored = read_numbers(folder, read_record(folder), "lines")
        lines = {
            family: {device: (float(a), float(b)) for device, (a, b) in known.items()}
            for family, known in stored["lines"].items()
        }
        return cls(lines, stored["bandwidth_bytes_per_s"])

    def to_json(self) -> str:
        """The JSON text that `load` reads."""
        stored = {"lines": self.lines, "bandwidth_bytes_per_s": self.bandwidths}
        return json.dumps(stored, indent=1, sort_keys=True) + "\n"

    def line(self, family: str, device: Device) -> tuple[float, float]:
        """(seconds per unit of work, seconds) of a family on a device, extrapolated where it was not measured."""
        known = self.lines[family]
        if device.name in known:
            return known[device.name]
        names = sorted(name for name, (slope, _) in known.items() if slope > 0)
        if len(names) < 2:
            raise InputError(device.name, f"no line for {family}", "it takes two measured GPUs to extrapolate")
        bandwidth = np.array([self.bandwidths[name] for name in names])
        rate = np.array([1 / known[name][0] for name in names])
        slope, intercept = np.polyfit(bandwidth, rate, 1)
        extrapolated = slope * device.bandwidth_bytes_per_s + intercept
        return 1 / max(extrapolated, rate.min() / 100), 0.0

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latencies without intervals; a line that falls below zero gives 0, as in the artifact."""
        frame = complete(kernels)
        latency = streamed_ms(frame, device)
        for family in MEASURED_FAMILIES:
            rows = (frame["family"] == family).to_numpy()
            if rows.any():
                slope, intercept = self.line(family, device)
                latency[rows] = np.maximum(slope * _work(frame[rows], family) + intercept, 0) * 1e3
        bound = np.where(frame["family"].isin(MATRIX_FAMILIES), "compute", "bandwidth")
        return forecast_frame(frame, latency, bound)


def _work(kernels: pd.DataFrame, family: str) -> np.ndarray:
    return kernels["flops"].to_numpy(dtype=float) if family in MATRIX_FAMILIES else moved_bytes(kernels)
