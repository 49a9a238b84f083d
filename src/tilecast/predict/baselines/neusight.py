"""NeuSight (Lee, Phanishayee, Mahajan, ASPLOS 2025), re-implemented from the paper and retrained here.

A kernel is cut in tiles; the tile is that of the nearest profiled kernel. Its time is
    waves x operations per wave / (roofline x utilisation),   waves = ceil(blocks / multiprocessors),
    utilisation = sigmoid(gamma) - sigmoid(alpha) / waves,    (alpha, gamma) = MLP(log2 of four per-SM ratios).
Units and counts are the artifact's, its mixture of 2^30 and 10^9 included, so that its predictions can be met.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.predict.baselines.network import evaluate_network
from tilecast.predict.kernel import (
    LARGE,
    MATRIX_FAMILIES,
    MEASURED_FAMILIES,
    complete,
    forecast_frame,
    moved_bytes,
    streamed_ms,
)
from tilecast.predict.weights import read_arrays, read_record

LAYERS, HIDDEN = 8, 512
_TILE_NAMES = (r"_mt(\d+)x(\d+)", r"sgemm_(\d+)x(\d+)", r"tilesize(\d+)x(\d+)", r"gemm_\w*?(\d+)x(\d+)")


def device_features(device: Device, family: str, dtype: str = "fp32") -> Array:
    """Multiprocessors, GFLOP/s, memory in GiB, GB/s and L2 in MiB: the artifact's five device features."""
    peak = device.peak_flops_per_s(dtype, family in MATRIX_FAMILIES)
    values = [device.sm_count, peak / 1e9, device.memory_bytes / 2**30, device.bandwidth_bytes_per_s / 1e9]
    return np.array([*values, device.l2_bytes / 2**20], dtype=float)


def profiled_tiles(kernels: pd.DataFrame) -> Array:
    """(rows, 2) tile sizes (columns, rows of the output) of measured kernels of one family; 0 where unknown.

    A matrix product's tile stands in the name of its kernel; an elementwise kernel's is its elements a block,
    rounded up to a power of two; softmax and norm work on whole rows.
    """
    family = kernels["family"].iloc[0]
    result = np.zeros((len(kernels), 2))
    if family in MATRIX_FAMILIES:
        unique = {name: _tile_of_name(str(name)) for name in kernels["kernel_name"].unique()}
        return np.array([unique[name] for name in kernels["kernel_name"]], dtype=float).reshape(-1, 2)
    if family != "elementwise":
        result[:, 0] = kernels["m"]
        return result
    grid = kernels["grid"].to_numpy(dtype=float)
    elements = np.ceil(
        kernels["b"].to_numpy(dtype=float) * kernels["m"].to_numpy(dtype=float) / np.maximum(grid, 1)
    )
    result[:, 0] = np.where(grid > 0, 2 ** np.ceil(np.log2(elements)), 0)
    return result


def _tile_of_name(name: str) -> tuple[int, int]:
    for pattern in _TILE_NAMES:
        match = re.search(pattern, name.lower())
        if match:
            return int(match[1]), int(match[2])
    return 0, 0


@dataclass(frozen=True)
class Waves:
    """Kernels as waves of tiles: the network's four inputs, and the terms of the time."""

    inputs: Array  # (rows, 4)
    count: Array  # waves
    gflop: Array  # operations per wave
    roofline: Array  # GFLOP/s

    def seconds_per_wave(self, alpha: Any, gamma: Any) -> Any:
        """Time of one wave from the network's two outputs after their sigmoids; works for torch tensors too."""
        return self.gflop / (self.roofline * (gamma - alpha / self.count))


def waves(family: str, dims: Mapping[str, Array], tiles: Array, device: Array, size: int = 4) -> Waves:
    """Waves of kernels of one family; `device` holds `device_features`, one row for all or one a kernel.

    `dims` has b, m, n, k of a matrix product (elements of `size` bytes), or b, m and bytes and operations per
    element of a vector kernel.
    """
    sms, gflops, memory, bandwidth, l2 = np.moveaxis(np.atleast_2d(device), 1, 0)
    b, m = dims["b"], dims["m"]
    if family in MATRIX_FAMILIES:
        n, k = dims["n"], dims["k"]
        tn, tm = tiles[:, 0], tiles[:, 1]
        blocks = b * np.ceil(m / tm) * np.ceil(n / tn)
        work = 2 * np.ceil(m / tm) * tm * k * np.ceil(n / tn) * tn / 1e9
        moved = size * (m * k + k * n + m * n) / 2**30
        tile_gflop = 2 * tm * k * tn / 1e9
        tile_mb = size * (tm * k + k * tn + tm * tn) / 2**20
    else:
        tile = tiles[:, 0]
        blocks = b * np.ceil(m / tile)
        work = dims["operations"] * np.ceil(m / tile) * tile / 1e9
        moved = dims["bytes"] * m / 2**30
        tile_gflop = dims["operations"] * tile / 1e9
        tile_mb = dims["bytes"] * tile / 2**20
    count = np.ceil(blocks / sms)
    ratios = (
        tile_gflop / (gflops / 1000 / sms),
        tile_mb / (bandwidth / sms),
        count * tile_mb / (memory * 1024 / sms),
        count * tile_mb / (l2 * 1024 / sms),
    )
    inputs = np.log2(np.stack(np.broadcast_arrays(*ratios), axis=1))
    return Waves(inputs, count, tile_gflop * sms, np.minimum(gflops, work / moved * bandwidth))


def network(weights: Mapping[str, Array], inputs: Array) -> tuple[Array, Array]:
    """sigmoid(alpha), sigmoid(gamma) of the trained network."""
    with np.errstate(over="ignore"):
        out = 1 / (1 + np.exp(-evaluate_network(weights, inputs).astype(float)))
    return out[:, 0], out[:, 2]


@dataclass(frozen=True)
class Profile:
    """Profiled kernels of one operation, in which the nearest one's tile is looked up."""

    points: Array  # (rows, dimensions and device features), as `_point` makes them
    tiles: Array

    def nearest(self, points: Array) -> Array:
        """Tiles of the nearest profiled kernels, by Euclidean distance over raw values as in the artifact."""
        from scipy.spatial import cKDTree

        return self.tiles[cKDTree(self.points).query(points)[1]]


def point(family: str, dims: Mapping[str, Array], device: Array) -> Array:
    """A kernel's coordinates in the artifact's look-up: its dimensions beside the device's features."""
    names = ("b", "m", "k", "n") if family in MATRIX_FAMILIES else ("b", "m", "bytes", "operations")
    columns = np.stack([dims[name] for name in names], axis=1)
    return np.hstack([columns, np.broadcast_to(device, (len(columns), 5))])


def dimensions(kernels: pd.DataFrame) -> dict[str, Array]:
    """The arrays `waves` and `point` read."""
    dims = {name: kernels[name].to_numpy(dtype=float) for name in "bmnk"}
    elements = dims["b"] * dims["m"]
    dims["bytes"] = moved_bytes(kernels) / elements
    dims["operations"] = kernels["flops"].to_numpy(dtype=float) / elements
    return dims


class NeuSight:
    """The paper's predictor. `clamped` counts kernels whose utilisation fell to zero: they cost 0, as there."""

    name = "neusight"
    vendors = ("NVIDIA",)

    def __init__(self, weights: Mapping[str, Mapping[str, Array]], profiles: Mapping[str, Profile]) -> None:
        self.weights, self.profiles = weights, profiles
        self.clamped = 0

    @classmethod
    def load(cls, folder: Path) -> NeuSight:
        """Read `<family>.safetensors` and `profiles.safetensors` of a folder of trained weights."""
        record = read_record(folder)
        weights = {
            family: {name: array.astype(np.float32) for name, array in read_arrays(folder, record, family).items()}
            for family in MEASURED_FAMILIES
        }
        return cls(weights, unpack_profiles(read_arrays(folder, record, "profiles")))

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """Latencies without intervals; families the paper does not know are streamed from memory."""
        frame = complete(kernels)
        latency = streamed_ms(frame, device)
        bound = np.full(len(frame), "bandwidth", dtype=object)
        for family in MEASURED_FAMILIES:
            for dtype in frame["dtype"].unique():
                rows = np.flatnonzero(((frame["family"] == family) & (frame["dtype"] == dtype)).to_numpy())
                if len(rows):
                    latency[rows], bound[rows] = self._family(family, dtype, frame.iloc[rows], device)
        return forecast_frame(frame, latency, bound)

    def _family(self, family: str, dtype: str, kernels: pd.DataFrame, device: Device) -> tuple[Array, Array]:
        dims = dimensions(kernels)
        keys = np.stack([dims[name] for name in ("b", "m", "n", "k", "bytes", "operations")], axis=1)
        ops = kernels["op"].astype("category").cat.codes.to_numpy(dtype=float)
        _, first, back = np.unique(np.column_stack([keys, ops]), axis=0, return_index=True, return_inverse=True)
        dims = {name: values[first] for name, values in dims.items()}
        features = device_features(device, family, dtype)
        tiles = self._tiles(family, kernels["op"].to_numpy()[first], dims, features)
        cast = waves(family, dims, tiles, features, ELEMENT_BYTES[dtype])
        alpha, gamma = network(self.weights[family], cast.inputs)
        with np.errstate(divide="ignore"):
            seconds = cast.count * cast.seconds_per_wave(alpha, gamma)
        self.clamped += int((seconds[back] <= 0).sum())
        compute = cast.roofline >= features[1] * (1 - 1e-9)
        bound = np.where(alpha / cast.count > gamma / 2, "wave tail", np.where(compute, "compute", "bandwidth"))
        return np.maximum(seconds, 0)[back] * 1e3, bound[back]

    def _tiles(self, family: str, ops: Array, dims: Mapping[str, Array], device: Array) -> Array:
        if family in ("softmax", "norm"):
            return np.column_stack([dims["m"], np.zeros_like(dims["m"])])
        points = point(family, dims, device)
        tiles = np.zeros((len(ops), 2))
        for op in np.unique(ops.astype(str)):
            profile = self.profiles.get(op) or self.profiles["add" if family == "elementwise" else family]
            rows = ops == op
            tiles[rows] = profile.nearest(points[rows])
        return tiles


def table_features(kernels: pd.DataFrame, devices: Mapping[str, Device]) -> Array:
    """(rows, 5) device features of measured kernels of one family."""
    family = kernels["family"].iloc[0]
    known = {name: device_features(devices[name], family) for name in kernels["device"].unique()}
    return np.stack([known[name] for name in kernels["device"]])


def profiles_of(kernels: pd.DataFrame, devices: Mapping[str, Device]) -> dict[str, Profile]:
    """Look-up tables by operation, from the measured kernels trained on; softmax and norm need none."""
    result = {}
    b, m = LARGE["elementwise"]
    kernels = kernels[(kernels["family"] != "elementwise") | (kernels["b"] > b) & (kernels["m"] > m)]
    for op, rows in kernels[kernels["family"].isin(("bmm", "linear", "elementwise"))].groupby("op", sort=True):
        tiles, family = profiled_tiles(rows), rows["family"].iloc[0]
        points = point(family, dimensions(complete(rows)), table_features(rows, devices))
        known = tiles[:, 0] > 0
        if not known.any():
            problem = f"no {op} kernel has the name and the grid of what was launched"
            raise InputError("kernels", problem, "NeuSight learns tiles from them: measure on a GPU")
        result[str(op)] = Profile(points[known], tiles[known])
    return result


def pack_profiles(profiles: Mapping[str, Profile]) -> dict[str, Array]:
    """Profiles as small arrays: dimensions as integers, devices as an index into their distinct features."""
    packed = {}
    for op, profile in profiles.items():
        devices, index = np.unique(profile.points[:, 4:], axis=0, return_inverse=True)
        dims = profile.points[:, :4]
        packed[f"{op}.dims"] = dims.astype(np.int32 if dims.max() >= 2**15 else np.int16)
        packed[f"{op}.device"] = index.astype(np.uint8)
        packed[f"{op}.devices"] = devices
        packed[f"{op}.tiles"] = profile.tiles.astype(np.int32 if profile.tiles.max() >= 2**15 else np.int16)
    return packed


def unpack_profiles(stored: Mapping[str, Array]) -> dict[str, Profile]:
    """The inverse of `pack_profiles`."""
    result = {}
    for op in sorted({name.split(".")[0] for name in stored}):
        devices = stored[f"{op}.devices"][stored[f"{op}.device"]]
        result[op] = Profile(np.hstack([stored[f"{op}.dims"], devices]), stored[f"{op}.tiles"].astype(float))
    return result
