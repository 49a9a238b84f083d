"""Attention as one kernel: an operation of its own, put in the place of PyTorch's while a model is traced."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("tilecast::attention", mutates_args=())
def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(query @ key^T + mask) @ value; exists for its shapes only."""
    raise NotImplementedError("tilecast::attention is traced, never run")


@attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


@torch.library.custom_op("tilecast::attention_backward", mutates_args=())
def attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; exists for its shapes only."""
    raise NotImplementedError("tilecast::attention_backward is traced, never run")


@attention_backward.register_fake
def _(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3], output)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    return (*torch.ops.tilecast.attention_backward(grad, *ctx.saved_tensors), None)


attention.register_autograd(_gradients, setup_context=_save)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Stands in for `torch.nn.functional.scaled_dot_product_attention`; a causal mask saves no FLOPs here."""
    return torch.ops.tilecast.attention(query, key, value, attn_mask)
