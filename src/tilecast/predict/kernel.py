"""The interface of predictors: a table of kernels and a device in, a latency with its interval a kernel out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tilecast.base.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.predict.columns import Columns, as_table, of_table
from tilecast.tables.columns import FAMILIES, PHASES

if TYPE_CHECKING:
    import pandas as pd

# One row a kernel. A matrix product (linear, bmm) has b, m, n, k; `linear` is b=1, m tokens, n outputs, k inputs.
# Any other kernel has b rows of m elements, n = k = 0. `operands` counts input tensors of that size.
# `count`: how often the kernel runs. flops and bytes are of one run.
_WORK = ("operands", "flops", "bytes_read", "bytes_written")
KERNEL_COLUMNS = ("family", "op", "phase", "dtype", *"bmnk", *_WORK, "count")
WORKLOAD = ["model", "mode", "sequence_length", "batch_size", "option"]  # what a cell of the artifact runs
FORECAST_COLUMNS = ("latency_ms", "low_ms", "high_ms", "bound", "passport")
BOUNDS = np.array(["compute", "bandwidth", "latency", "wave tail"], dtype=object)
HALF_PASSPORT = "modern track"  # of forecasts by experts trained in half precision
MATRIX_FAMILIES = ("linear", "bmm")
PRODUCT_FAMILIES = (*MATRIX_FAMILIES, "attention", "conv")  # run on matrix units, where a device has any
MEASURED_FAMILIES = ("bmm", "linear", "elementwise", "softmax", "norm")  # in the artifact's training tables
# ASSUME: vector kernels above these rows and row lengths are large, as the paper's predictors are trained on.
LARGE = {"elementwise": (8192, 512), "softmax": (4096, 512), "norm": (4096, 512)}
PASSES = {"forward": ("forward",), "backward": ("backward", "accumulation"), "optimizer": ("optimizer",)}
BINARY_OPS = ("add", "mul", "pow", "div")  # elementwise kernels that read two tensors
FLOPS_PER_ELEMENT = {"softmax": 5, "norm": 6, "memory": 0}  # as the artifact counts; 1 for any other


class Predictor(Protocol):
    """A named way to forecast kernels: one row out for each row in, in order and with the same index.

    A class that forecasts GPUs of some vendors only lists them as `vendors`; one trained on the artifact's device
    files, errors included, says `artifact_figures = True`; one whose steps on several GPUs come from a model of
    their own, so that no cell has two forecasts, `artifact_links = False`.
    """

    name: str

    def predict(self, kernels: pd.DataFrame, device: Device) -> pd.DataFrame:
        """FORECAST_COLUMNS for each kernel: one run's latency, its 80 % interval (NaN where none is claimed),
        what bounds it (one of BOUNDS), and its passport: `predicted`, `extrapolated`, or `floor`."""
        ...


@runtime_checkable
class Columnar(Protocol):
    """A predictor that takes kernels as columns, which have every one of KERNEL_COLUMNS."""

    name: str

    def predict_columns(self, kernels: Columns, device: Device) -> Columns:
        """What `predict` finds."""
        ...


def forecast(predictor: Predictor | Columnar, kernels: Columns, device: Device) -> Columns:
    """A predictor's forecast of kernels in columns."""
    if isinstance(predictor, Columnar):
        return predictor.predict_columns(kernels, device)
    return of_table(predictor.predict(as_table(kernels), device))


@runtime_checkable
class HostAware(Protocol):
    """A predictor that also forecasts how long the host takes to issue a kernel."""

    def issue_ms(self, ops: np.ndarray, phase: str, quantile: float = 0.5) -> np.ndarray:
        """Milliseconds a host takes to issue each eager operation; a share `quantile` of hosts is faster."""
        ...


def matrix_work(b: np.ndarray, m: np.ndarray, n: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, ...]:
    """Elements read, elements written and FLOPs of matrix products (b, m, k) x (b, k, n)."""
    b, m, n, k = (np.asarray(x, dtype=float) for x in (b, m, n, k))
    return b * (m * k + k * n), b * m * n, 2 * b * m * n * k


def complete(kernels: pd.DataFrame) -> pd.DataFrame:
    """`kernels` with every column of KERNEL_COLUMNS: absent ones get defaults, work is counted from dimensions.

    Needs family, op, b, m. Work columns that are present are kept.
    """
    frame = kernels.copy()
    defaults: dict[str, Any] = {"phase": "forward", "dtype": "fp32", "n": 0, "k": 0, "count": 1}
    if "operands" not in frame:
        frame["operands"] = np.where(frame["op"].isin(BINARY_OPS), 2, 1)
    frame = frame.assign(**{column: value for column, value in defaults.items() if column not in frame})
    check_kernels(frame)
    if {"flops", "bytes_read", "bytes_written"} <= set(frame.columns):
        return frame
    matrix = frame["family"].isin(MATRIX_FAMILIES).to_numpy()
    read, written, flops = matrix_work(*(frame[c].to_numpy() for c in "bmnk"))
    elements = frame["b"].to_numpy(dtype=float) * frame["m"].to_numpy(dtype=float)
    per_element = frame["family"].map(FLOPS_PER_ELEMENT).fillna(1).to_numpy(dtype=float)
    size = frame["dtype"].map(ELEMENT_BYTES).to_numpy(dtype=float)
    work = {
        "flops": np.where(matrix, flops, elements * per_element),
        "bytes_read": np.where(matrix, read, elements * frame["operands"].to_numpy(dtype=float)) * size,
        "bytes_written": np.where(matrix, written, elements) * size,
    }
    return frame.assign(**{column: values for column, values in work.items() if column not in frame})


def check_kernels(kernels: pd.DataFrame, where: object = "kernels") -> None:
    """Refuse the first row that is not a kernel: unknown family, phase or dtype, or an empty dimension."""
    for column, allowed in (("family", FAMILIES), ("phase", PHASES), ("dtype", tuple(ELEMENT_BYTES))):
        bad = ~kernels[column].isin(allowed)
        if bad.any():
            value = kernels.loc[bad, column].iloc[0]
            raise InputError(where, f"unknown {column} {value!r}", f"expected one of {', '.join(allowed)}")
    matrix = kernels["family"].isin(MATRIX_FAMILIES)
    bad = (kernels[["b", "m"]] <= 0).any(axis=1) | (matrix & (kernels[["n", "k"]] <= 0).any(axis=1))
    if bad.any():
        row = kernels.loc[bad].iloc[0]
        dims = ", ".join(f"{c}={row[c]}" for c in "bmnk")
        raise InputError(where, f"a {row['family']} kernel with {dims}", "every dimension must be above zero")


def moved_bytes(kernels: pd.DataFrame) -> np.ndarray:
    """Bytes read and written by each kernel; counted from its node's shapes where the artifact's graphs do so."""
    moved = kernels["bytes_read"].to_numpy(dtype=float) + kernels["bytes_written"].to_numpy(dtype=float)
    if "node_bytes_per_element" not in kernels:
        return moved
    stated = kernels["node_bytes_per_element"].to_numpy(dtype=float)
    elements = kernels["b"].to_numpy(dtype=float) * kernels["m"].to_numpy(dtype=float)
    return np.where(stated > 0, stated * elements, moved)


def streamed_ms(kernels: pd.DataFrame, device: Device) -> np.ndarray:
    """Milliseconds to move each kernel's bytes at peak bandwidth, the artifact's rule for what only moves memory.

    It takes a GB/s as 2^30 bytes per second here.
    """
    return moved_bytes(kernels) / (device.bandwidth_bytes_per_s / 1e9 * 2**30) * 1e3


HOSTS = (0.5, 0.1, 0.9)  # shares of hosts that are faster: of a forecast, and of the ends of its 80 % interval
# ASSUME: hosts of today launch in down to half the time of the fastest that was measured (hosts of 2016 to 2021);
# chosen after a look at published eager decoding, and for the interval's low end and the class `new` alone.
NEW_HOST = 0.5
# Class of hosts -> the same three, each a share of measured hosts that are faster, and a factor on its launches.
HOST_CLASSES = {
    "measured": tuple((share, 1.0) for share in HOSTS),
    "any": ((0.5, 1.0), (0.1, NEW_HOST), (0.9, 1.0)),
    "slow": ((0.9, 1.0), (0.7, 1.0), (1.0, 1.0)),
    "usual": ((0.5, 1.0), (0.3, 1.0), (0.7, 1.0)),
    "fast": ((0.1, 1.0), (0.0, 1.0), (0.3, 1.0)),
    "new": ((0.1, NEW_HOST**0.5), (0.1, NEW_HOST), (0.1, 1.0)),
}


def wait_ms(issue_ms: np.ndarray, busy_ms: np.ndarray) -> float:
    """Milliseconds a GPU waits for the host that issues its kernels one by one while it works off those before.

    A kernel starts when it has been issued and the one before has ended. So the last one ends after the slowest of
    "host up to kernel j, GPU from kernel j on". ASSUME: the host may run ahead as far as it likes.
    """
    ends = np.cumsum(issue_ms) + np.cumsum(busy_ms[::-1])[::-1]
    return float(ends.max(initial=0.0) - busy_ms.sum())


def forecast_frame(kernels: pd.DataFrame, latency_ms: np.ndarray, bound: np.ndarray) -> pd.DataFrame:
    """A forecast without an interval, in the columns every predictor returns.

    Every measured kernel so far is in single precision: other formats are extrapolated.
    """
    import pandas as pd

    passport = np.where(kernels["dtype"].to_numpy() == "fp32", "predicted", "extrapolated")
    columns = {"latency_ms": latency_ms, "low_ms": np.nan, "high_ms": np.nan, "bound": bound, "passport": passport}
    return pd.DataFrame(columns, index=kernels.index)
