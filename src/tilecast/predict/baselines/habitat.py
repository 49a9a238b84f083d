"""Habitat (Yu et al., ATC 2021): scale a measured kernel from a reference GPU; a network for matrix products.

What is bound by memory takes the reference GPU's time times the ratio of bandwidths: the nearest measured shape of
the operation, scaled to the bytes wanted. Reference: V100, and P100 for V100 itself, as in the artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.hardware.device import Device
from tilecast.predict.baselines.network import evaluate_network
from tilecast.predict.kernel import MATRIX_FAMILIES, complete, forecast_frame, moved_bytes, streamed_ms
from tilecast.predict.weights import read_arrays, read_record

VECTOR_FAMILIES = ("elementwise", "softmax", "norm")
REFERENCES = ("Tesla_V100-PCIE-32GB", "Tesla_P100-PCIE-16GB")  # the first that is not the device itself


def inputs(kernels: pd.DataFrame, device: Array) -> Array:
    """Raw dimensions and `device_inputs` (one row, or one a kernel), not yet normalised."""
    dims = np.stack([kernels[name].to_numpy(dtype=float) for name in "bmkn"], axis=1)
    return np.hstack([dims, np.broadcast_to(device, (len(dims), 4))])


def device_inputs(device: Device, dtype: str = "fp32") -> Array:
    """Bandwidth in GB/s, memory in GiB, multiprocessors, GFLOP/s."""
    peak = device.peak_flops_per_s(dtype, True)
    return np.array([device.bandwidth_bytes_per_s / 1e9, device.memory_bytes / 2**30, device.sm_count, peak / 1e9])


class Habitat:
    """Networks for bmm and linear (milliseconds out), reference measurements for the rest."""

    name = "habitat"
    vendors = ("NVIDIA",)
    artifact_figures = True

    def __init__(self, weights: Mapping[str, Mapping[str, Array]], references: Mapping[str, Array]) -> None:
        self.weights, self.references = weights, references

    @classmethod
    def load(cls, folder: Path) -> Habitat:
        """Read `bmm`, `linear` and `references.safetensors` of a folder."""
        record = read_record(folder)
        weights = {family: read_arrays(folder, record, family) for family in MATRIX_FAMILIES}
        references = read_arrays(folder, record, "references")
        single = {f: {name: array.astype(np.float32) for name, array in w.items()} for f, w in weights.items()}
        return cls(single, references)

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latencies without intervals; a network's forecast below zero is 0, as in the artifact."""
        frame = complete(kernels)
        latency = streamed_ms(frame, device)
        for family in MATRIX_FAMILIES:
            for dtype in frame["dtype"].unique():
                rows = ((frame["family"] == family) & (frame["dtype"] == dtype)).to_numpy()
                if rows.any():
                    raw = inputs(frame[rows], device_inputs(device, dtype))
                    stored = self.weights[family]
                    layers = {name: array for name, array in stored.items() if name not in ("mean", "std")}
                    latency[rows] = np.maximum(
                        evaluate_network(layers, (raw - stored["mean"]) / stored["std"])[:, 0], 0
                    )
        vector = frame["family"].isin(VECTOR_FAMILIES).to_numpy()
        for op in frame.loc[vector, "op"].unique():
            rows = vector & (frame["op"] == op).to_numpy()
            scaled = self._scaled_ms(frame[rows], str(op), device)
            latency[rows] = latency[rows] if scaled is None else scaled
        bound = np.where(frame["family"].isin(MATRIX_FAMILIES), "compute", "bandwidth")
        return forecast_frame(frame, latency, bound)

    def _scaled_ms(self, kernels: pd.DataFrame, op: str, device: Device) -> Array | None:
        """The nearest reference kernel's time, scaled by bytes and bandwidth; None without a reference."""
        from scipy.spatial import cKDTree

        stored = [name for name in REFERENCES if name != device.name and f"{name}.{op}.shape" in self.references]
        if not stored:
            return None
        shape = self.references[f"{stored[0]}.{op}.shape"].astype(float)
        wanted = kernels[["b", "m"]].to_numpy(dtype=float)
        nearest = cKDTree(np.log(shape)).query(np.log(wanted))[1]
        reference = self.references[f"{stored[0]}.{op}.ms"].astype(float)[nearest]
        per_element = float(self.references[f"{stored[0]}.{op}.bytes"][0])
        ratio = moved_bytes(kernels) / (shape[nearest].prod(axis=1) * per_element)
        bandwidth = float(self.references[f"{stored[0]}.bandwidth"][0])
        return np.asarray(reference * ratio * bandwidth / device.bandwidth_bytes_per_s)


def references_of(kernels: pd.DataFrame, devices: Mapping[str, Device]) -> dict[str, Array]:
    """Measured vector kernels of the reference GPUs, as small arrays."""
    stored: dict[str, Array] = {}
    rows = complete(kernels[kernels["family"].isin(VECTOR_FAMILIES) & kernels["device"].isin(REFERENCES)])
    for (device, op), part in rows.groupby(["device", "op"], sort=True):
        elements = part["b"].to_numpy(dtype=float) * part["m"].to_numpy(dtype=float)
        stored[f"{device}.{op}.shape"] = part[["b", "m"]].to_numpy(dtype=np.int32)
        stored[f"{device}.{op}.ms"] = part["latency_ms"].to_numpy(dtype=np.float32)
        stored[f"{device}.{op}.bytes"] = (moved_bytes(part) / elements)[:1]
        stored[f"{device}.bandwidth"] = np.array([devices[str(device)].bandwidth_bytes_per_s])
    return stored
