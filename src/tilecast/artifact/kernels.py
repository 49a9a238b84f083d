"""Measured kernels: the timings the authors' predictors were trained on, and the held-out ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilecast.artifact import names
from tilecast.artifact.store import combine, parse_csv

if TYPE_CHECKING:
    import pandas as pd

_FAMILY = {"bmm": "bmm", "linear": "linear", "softmax": "softmax", "ln": "norm"}
_COMMON = {
    "OPName": "op",
    "Latency": "latency_ms",
    "Device": "device",
    "Kernel Name": "kernel_name",
    "Grid x": "grid_x",
    "Grid y": "grid_y",
    "Grid z": "grid_z",
    "Block x": "block_x",
    "Block y": "block_y",
    "Block z": "block_z",
}
_MATRIX = {"B": "b", "M": "m", "N": "n", "K": "k"}
_VECTOR = {"B": "b", "H": "m"}


def read_kernels(files: dict[str, bytes]) -> pd.DataFrame:
    """The `kernels` table: every row as the artifact holds it, unfiltered; all are fp32.

    Matrix products: b x (m x k) @ (k x n); vector kernels: b rows of length m, n = k = 0.
    """
    import pandas as pd

    parts = {}
    for path, data in files.items():
        known = names.kernel_file(path)
        if known is None:
            continue
        op, device = known
        if op == "conv":  # NeuSight forecasts no convolution
            continue
        matrix = op in ("bmm", "linear")
        columns = _COMMON | (_MATRIX if matrix else _VECTOR)
        frame = parse_csv(path, data, columns).rename(columns=columns)
        frame["device"] = frame["device"].astype("str").map(names.device_of)
        if not matrix:
            frame["n"] = frame["k"] = 0
        frame["split"] = "test" if device is None else "train"
        frame["family"] = frame["op"].map(lambda name: _FAMILY.get(name, "elementwise"))
        frame["dtype"] = "fp32"
        sizes = frame[["grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z"]].apply(
            pd.to_numeric, errors="coerce"
        )
        frame["grid"] = sizes["grid_x"] * sizes["grid_y"] * sizes["grid_z"]
        frame["block"] = sizes["block_x"] * sizes["block_y"] * sizes["block_z"]
        frame["source"] = path
        parts[path] = frame.drop(columns=["block_x", "block_y", "block_z"])
    return combine(parts, "kernels")
