"""The kernel shapes to measure: drawn at random in the ranges of the paper's data, alike on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.errors import InputError
from tilecast.base.limits import check
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.tables.declared.measured import KERNEL_KEY

# family -> (operations, least and greatest b, m, n, k). Matrix products and vector kernels as the artifact's
# training data have them (vector kernels: its filter, many rows); attention, embedding and RMS norm as models do.
RANGES: dict[str, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]] = {
    "bmm": (("bmm",), ((1, 1024), (16, 1024), (16, 1024), (16, 1024))),
    "linear": (("linear",), ((1, 1), (16, 8192), (64, 60000), (64, 32768))),
    "elementwise": (
        ("add", "addu", "mul", "mulu", "div", "divu", "pow", "powu", "tanh", "gelu", "relu"),
        ((512, 65536), (512, 16384), (0, 0), (0, 0)),
    ),
    "softmax": (("softmax",), ((512, 65536), (128, 8192), (0, 0), (0, 0))),
    "norm": (("ln", "rmsnorm"), ((512, 65536), (512, 16384), (0, 0), (0, 0))),
    "attention": (("sdpa",), ((8, 512), (128, 4096), (128, 4096), (64, 128))),
    "memory": (("embedding",), ((512, 65536), (512, 8192), (0, 0), (0, 0))),
    "conv": (("conv",), ((1, 64), (14, 224), (32, 512), (16, 512))),
}
EACH = 160  # shapes an operation family
PRODUCTS = ("bmm", "linear", "conv")  # what tf32 makes a difference to
TABLE_ROWS = (30522, 50257, 128256)  # vocabularies
FAMILIES = tuple(RANGES)
_FLOPS = {"softmax": 5, "norm": 6, "memory": 0}


def grid(
    dtypes: Sequence[str], families: Sequence[str] = FAMILIES, limit_flops: float = math.inf,
    limit_bytes: float = math.inf, each: int = EACH, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Kernels of the named families in each number format, none beyond the limits; log-uniform in every dimension.

    The same shapes in every format, so that formats can be compared shape by shape; in tf32 products alone.
    """
    check("each", each, "shapes a family", least=1)
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise InputError(
            "families", f"{unknown[0]!r} cannot be measured", f"expected some of {', '.join(FAMILIES)}"
        )
    rows = []
    for family in families:
        generator = np.random.default_rng([seed, FAMILIES.index(family)])
        found = 0
        for _ in range(200 * each):
            row = _draw(family, found, generator)
            if counts(row)[2] <= limit_flops and 4 * held(row) <= limit_bytes:
                rows.append(row)
                found += 1
            if found == each:
                break
    frame = pd.DataFrame(rows).drop_duplicates()
    in_tf32 = frame["family"].isin(PRODUCTS)
    parts = [frame[in_tf32 | (dtype != "tf32")].assign(dtype=dtype) for dtype in dtypes]
    return pd.concat(parts, ignore_index=True)[list(KERNEL_KEY)]


def _draw(family: str, place: int, generator: np.random.Generator) -> dict[str, str | int]:
    operations, ranges = RANGES[family]
    sizes = [_size(low, high, generator) for low, high in ranges]
    row: dict[str, str | int] = {"family": family, "op": operations[place % len(operations)], "shape": ""}
    if family == "attention":
        sizes[3] = int(generator.choice([64, 128]))
        if generator.random() < 0.25:
            sizes[1] = 1  # one token against a cache
    elif family == "memory":
        row["shape"] = f"rows={generator.choice(TABLE_ROWS)}"
    elif family == "conv":
        return row | _convolution(sizes, generator)
    return row | dict(zip("bmnk", sizes))


def _size(low: int, high: int, generator: np.random.Generator) -> int:
    """A size in the range: half of them multiples of 8 from 64 on, as models have them."""
    if low >= high:
        return low
    size = round(math.exp(generator.uniform(math.log(low), math.log(high))))
    return max(low, size // 8 * 8) if size >= 64 and generator.random() < 0.5 else size


def _convolution(sizes: list[int], generator: np.random.Generator) -> dict[str, str | int]:
    """A square convolution as the matrix product it is: m positions of all images, n filters, k inputs of one."""
    images, edge, filters, channels = sizes
    window, stride = int(generator.choice([1, 3, 3, 7])), int(generator.choice([1, 1, 2]))
    out = (edge + 2 * (window // 2) - window) // stride + 1
    return {
        "b": 1, "m": images * out * out, "n": filters, "k": channels * window * window,
        "shape": f"images={images} edge={edge} channels={channels} window={window} stride={stride}",
    }  # fmt: skip


def details(shape: object) -> dict[str, int]:
    """The numbers that a `shape` such as `rows=50257` names."""
    words = str(shape).split() if isinstance(shape, str) else []
    try:
        return {name: int(value) for name, value in (word.split("=") for word in words)}
    except ValueError:
        raise InputError(f"shape {shape!r}", "is not understood", "expected words such as rows=50257") from None


def held(row: Mapping[str, Any]) -> float:
    """Elements a kernel needs in memory: what it reads and writes, and the rest of a table it picks from."""
    read, written, _ = counts(row)
    return read + written + details(row["shape"]).get("rows", 0) * float(row["m"])


def counts(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Elements read, elements written and FLOPs of one kernel: each input and output once."""
    b, m, n, k = (float(row[name]) for name in "bmnk")
    family, op = row["family"], str(row["op"])
    if family in ("linear", "bmm"):
        return b * (m * k + k * n) + (n if family == "linear" else 0), b * m * n, 2 * b * m * n * k
    if family == "attention":
        return b * (m * k + 2 * n * k), b * m * k, 4 * b * m * n * k
    if family == "conv":
        more = details(row["shape"])
        read = more["images"] * more["channels"] * more["edge"] ** 2 + n * k
        return read, m * n, 2 * m * n * k
    operands = 2 if op in ("add", "mul", "div", "pow") else 1
    return operands * b * m, b * m, b * m * _FLOPS.get(str(family), 1)


def with_work(kernels: pd.DataFrame) -> pd.DataFrame:
    """`kernels` with the columns a predictor takes besides: phase, operands, count, flops, bytes."""
    found = np.array([counts({str(k): v for k, v in row.items()}) for row in kernels.to_dict("records")]).reshape(
        -1, 3
    )
    size = kernels["dtype"].map(ELEMENT_BYTES).to_numpy(dtype=float)
    return kernels.assign(
        phase="forward",
        operands=np.where(kernels["op"].isin(["add", "mul", "div", "pow"]) | (kernels["n"] > 0), 2, 1),
        count=1,
        flops=found[:, 2],
        bytes_read=found[:, 0] * size,
        bytes_written=found[:, 1] * size,
    )
