"""Physics of matrix products and vector kernels in single precision."""

from __future__ import annotations

import numpy as np

from tilecast.base.arrays import Array
from tilecast.predict.physics.chip import Chip, log2_within, tile_waste

# Output tiles (rows, columns) of the fp32 kernels libraries choose from, as measured kernels' names give them.
TILES = ((128, 128), (64, 128), (64, 64), (128, 32), (32, 128), (32, 32))
OPS = ("add", "addu", "mul", "mulu", "div", "divu", "pow", "powu", "tanh", "gelu", "relu")  # first: the reference
# Dimensions outside what was measured say nothing more about the library's choice of kernel: they are held here.
RANGES = {
    "linear": {"b": (1, 1), "m": (16, 8192), "n": (16, 60000), "k": (16, 60000)},
    "bmm": {"b": (1, 1000), "m": (16, 1000), "n": (8, 1000), "k": (8, 1000)},
}


def matrix_features(family: str, dims: dict[str, Array], on: Chip, size: Array | float) -> tuple[Array, Array]:
    """Features (a row a kernel) and base milliseconds of products b x (m, k) x (k, n), elements of `size` bytes.

    base = operations / sustained rate + bytes / bandwidth.
    """
    b, m, n, k = (dims[name] for name in "bmnk")
    outputs = b * m * n
    compute = 2 * outputs * k / on.sustained_flops_per_s
    moved = size * (b * (m * k + k * n) + outputs)
    memory = moved / on.bandwidth_bytes_per_s
    names = "mnk" if family == "linear" else "mnkb"
    columns = [log2_within(dims[name], *RANGES[family][name]) for name in names]
    columns += tile_waste(m, n, TILES, on, b, most=64)
    columns.append(log2_within(outputs / (on.sm_count * 8192), 0.01, 600))  # waves
    columns.append(np.log2(memory / compute))
    columns.append(log2_within(moved / (b * on.l2_bytes), 1e-3, 1e3))
    # Rows that begin off a 16- or 32-byte boundary cost narrower loads and straddled cache sectors.
    columns += [(k % 4 == 0).astype(float), (k % 8 == 0).astype(float), (n % 8 == 0).astype(float)]
    return np.stack(columns, axis=1).astype(np.float32), 1e3 * (compute + memory)


def vector_features(family: str, dims: dict[str, Array], moved: Array, op: Array, on: Chip) -> tuple[Array, Array]:
    """Features and base milliseconds of vector kernels of b rows of m elements that move `moved` bytes.

    base = bytes / bandwidth. `op` holds indices into OPS.
    """
    columns = [log2_within(moved / on.sm_count, 1e2, 1e7), log2_within(moved / on.l2_bytes, 1e-3, 60)]
    if family == "elementwise":
        columns += [(op == index).astype(float) for index in range(1, len(OPS))]
    else:
        b, m = dims["b"], dims["m"]
        columns += [log2_within(b, 64, 16000), log2_within(m, 32, 4096)]
        columns += [(m <= 1024).astype(float), (m % 4 == 0).astype(float)]  # softmax in registers; wide loads
    return np.stack(columns, axis=1).astype(np.float32), 1e3 * moved / on.bandwidth_bytes_per_s
