"""Make one kernel ready to run: random inputs on the device, and the torch call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tilecast.measure.backend import Action, Unsupported
from tilecast.measure.grid import details

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_TWO = {"add": torch.add, "mul": torch.mul, "div": torch.div, "pow": torch.pow}
_ONE = {
    "addu": lambda x: x + 1.5, "mulu": lambda x: x * 1.5, "divu": lambda x: x / 1.5, "powu": lambda x: x**1.5,
    "tanh": torch.tanh, "gelu": F.gelu, "relu": F.relu,
}  # fmt: skip


def action(row: Mapping[str, Any], place: str, seed: int = 0) -> Action:
    """What runs the kernel of `row` once, its inputs made already; values lie in (0, 1)."""
    b, m, n, k = (int(row[name]) for name in "bmnk")
    family, op, dtype = row["family"], row["op"], DTYPES[row["dtype"]]
    torch.manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, device=place, dtype=torch.float32 if place == "cpu" else dtype).to(dtype)

    if family == "linear":
        x, weight, bias = random(m, k), random(n, k), random(n)
        return lambda: F.linear(x, weight, bias)
    if family == "bmm":
        left, right = random(b, m, k), random(b, k, n)
        return lambda: torch.bmm(left, right)
    if family == "attention":
        query, key, value = random(1, b, m, k), random(1, b, n, k), random(1, b, n, k)
        return lambda: F.scaled_dot_product_attention(query, key, value)
    if family == "conv":
        return _convolution(details(row["shape"]), n, random)
    if family == "memory" and op == "embedding":
        rows = details(row["shape"])["rows"]
        table, picked = random(rows, m), torch.randint(rows, (b,), device=place)
        return lambda: F.embedding(picked, table)
    x = random(b, m)
    if family == "softmax":
        return lambda: F.softmax(x, -1)
    if family == "norm" and op == "ln":
        weight, bias = random(m), random(m)
        return lambda: F.layer_norm(x, (m,), weight, bias)
    if family == "norm" and op == "rmsnorm":
        weight = random(m)
        return lambda: F.rms_norm(x, (m,), weight)
    if op in _TWO:
        two, other = _TWO[op], random(b, m) + 0.5
        return lambda: two(x, other)
    if op in _ONE:
        one = _ONE[op]
        return lambda: one(x)
    raise Unsupported(f"no way to run a {family} kernel {op!r}")


def _convolution(sizes: Mapping[str, int], filters: int, random: Any) -> Action:
    window, stride = sizes["window"], sizes["stride"]
    images = random(sizes["images"], sizes["channels"], sizes["edge"], sizes["edge"])
    weight = random(filters, sizes["channels"], window, window)
    return lambda: F.conv2d(images, weight, stride=stride, padding=window // 2)
