"""Measured kernels: the timings the authors' predictors were trained on, and the held-out ones."""

from __future__ import annotations

import pandas as pd

from tilecast.artifact import names
from tilecast.artifact.store import combine, parse_csv
from tilecast.tables.declared.artifact import KERNELS

_FAMILY = {"bmm": "bmm", "linear": "linear", "softmax": "softmax", "ln": "norm"}
_COMMON = {"OPName": "op", "Latency": "latency_ms", "Device": "device", "Kernel Name": "kernel_name"} | {
    f"{size} {axis}": f"{size.lower()}_{axis}" for size in ("Grid", "Block") for axis in "xyz"
}
# The artifact names the inner dimension N and the columns K (torch.bmm of (B, M, N) and (B, N, K)).
_MATRIX = {"B": "b", "M": "m", "N": "k", "K": "n"}
_VECTOR = {"B": "b", "H": "m"}


def read_kernels(files: dict[str, bytes]) -> pd.DataFrame:
    """The `kernels` table: every row as the artifact holds it, unfiltered; all are fp32.

    Matrix products: b x (m x k) @ (k x n); vector kernels: b rows of length m, n = k = 0.
    """
    parts = []
    for path, data in files.items():
        known = names.kernel_file(path)
        if known is None:
            continue
        op, split = known
        matrix = op in ("bmm", "linear")
        frame = parse_csv(path, data, _COMMON | (_MATRIX if matrix else _VECTOR))
        if not matrix:
            frame["n"] = frame["k"] = 0
        for size in ("grid", "block"):
            axes = [frame.pop(f"block_{axis}") if size == "block" else frame[f"grid_{axis}"] for axis in "xyz"]
            x, y, z = (pd.to_numeric(axis, errors="coerce") for axis in axes)
            frame[size] = x * y * z
        frame["device"] = frame["device"].astype("str").map(names.device_of, na_action="ignore")
        frame["family"] = frame["op"].map(_FAMILY).fillna("elementwise")
        parts.append(({"split": split, "dtype": "fp32", "source": path}, frame))
    return combine(parts, KERNELS)
