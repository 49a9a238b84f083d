"""Attention and RMS norm as one kernel each, as on a GPU; on a CPU PyTorch splits them."""

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


def register_attention() -> str:
    """Make attention in one kernel known to transformers, for classes without PyTorch's; its name."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attended(_: Any, query: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any) -> tuple[Tensor, None]:
        return torch.ops.tilecast.attention(query, key, value, None).transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS.register("tilecast_attention", attended)
    return "tilecast_attention"


@torch.library.custom_op("tilecast::rms_norm", mutates_args=())
def rms_norm(x: Tensor, shape: list[int], weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The normalised rows and their scales; exists for its shapes only."""
    raise NotImplementedError("tilecast::rms_norm is traced, never run")


@rms_norm.register_fake
def _(x: Tensor, shape: list[int], weight: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(x.shape[: x.dim() - len(shape)], dtype=torch.float32)


@torch.library.custom_op("tilecast::rms_norm_backward", mutates_args=())
def rms_norm_backward(
    grad: Tensor, x: Tensor, shape: list[int], scale: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients of the rows and of the weight, empty where there is none; exists for its shapes only."""
    raise NotImplementedError("tilecast::rms_norm_backward is traced, never run")


@rms_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, shape: list[int], scale: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty(0) if weight is None else torch.empty_like(weight)


def _save_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.shape, weight = inputs
    ctx.save_for_backward(x, output[1], weight)


def _norm_gradients(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, Tensor | None]:
    x, scale, weight = ctx.saved_tensors
    rows, weights = torch.ops.tilecast.rms_norm_backward(grad, x, ctx.shape, scale, weight)
    return rows, None, None if weight is None else weights


rms_norm.register_autograd(_norm_gradients, setup_context=_save_norm)


def one_rms_norm(
    input: Tensor, normalized_shape: list[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Stands in for `torch.nn.functional.rms_norm`."""
    return torch.ops.tilecast.rms_norm(input, list(normalized_shape), weight)[0]
