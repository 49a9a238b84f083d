"""Replacements for expert layers whose sizes depend on the data: the routing parameter sets them instead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from tilecast.graph.routing import Routing

IMPLEMENTATION = "tilecast"  # name under which transformers finds the stand-in for stacked experts

_routing: ContextVar[Routing] = ContextVar("routing")  # of the model being traced


@contextlib.contextmanager
def routed(model: nn.Module, routing: Routing, batch_size: int) -> Iterator[None]:
    """Within: experts of `model` take their token counts from `routing`."""
    taken: list[nn.Module] = []
    for parent in model.modules():
        for child in parent.children():
            if isinstance(child, (nn.ModuleDict, nn.ModuleList)) and type(child).__name__.endswith("Experts"):
                child.__dict__["forward"] = _listed(child, parent, routing, batch_size)
                taken.append(child)
    token = _routing.set(routing)
    try:
        yield
    finally:
        _routing.reset(token)
        for child in taken:
            del child.__dict__["forward"]


def register() -> str | None:
    """Make the stand-in known to transformers and return its name there; None where that is too old for it."""
    try:
        from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
    except ImportError:
        return None
    ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, stacked)
    return IMPLEMENTATION


def stacked(module: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Experts with their weights in one tensor: sort tokens by expert, one batched product per equal size."""
    routing, chosen = _routing.get(), index.shape[-1]
    experts = (module.gate_up_proj if module.has_gate else module.up_proj).shape[0]
    counts = sorted(routing.tokens(hidden.shape[0] * chosen, experts), reverse=True)
    sizes = [size for size in sorted(set(counts), reverse=True) if size]
    numbers = [counts.count(size) for size in sizes]

    _, order = torch.sort(index.reshape(-1))
    kept = order[: sum(counts)]
    token = kept // chosen
    sorted_tokens = hidden[token]
    up_weights = _groups(module.gate_up_proj if module.has_gate else module.up_proj, numbers)
    down_weights = _groups(module.down_proj, numbers)
    outputs, start = [], 0
    for size, number, up, down in zip(sizes, numbers, up_weights, down_weights, strict=True):
        group = sorted_tokens[start : start + size * number].view(number, size, -1)
        start += size * number
        projected = torch.bmm(group, up if module.is_transposed else up.transpose(1, 2))
        projected = module._apply_gate(projected) if module.has_gate else module.act_fn(projected)
        outputs.append(torch.bmm(projected, down if module.is_transposed else down.transpose(1, 2)).flatten(0, 1))
    result = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    result = result * weights.reshape(-1)[kept].unsqueeze(-1)
    return torch.zeros_like(hidden).index_add(0, token, result.to(hidden.dtype))


def _groups(weight: Tensor, numbers: list[int]) -> list[Tensor]:
    if numbers == [weight.shape[0]]:
        return [weight]
    return list(weight.split([*numbers, weight.shape[0] - sum(numbers)]))[: len(numbers)]


def _listed(experts: Any, parent: nn.Module, routing: Routing, batch_size: int) -> Any:
    """Experts that are modules of their own: one after the other, each with its share of the tokens."""
    children = list(experts.values() if isinstance(experts, nn.ModuleDict) else experts)
    capacity = next((m.expert_capacity for m in parent.children() if hasattr(m, "expert_capacity")), None)

    def forward(hidden: Tensor, selected: Tensor, weights: Tensor) -> Tensor:
        chosen = 1 if selected.shape[-1] == len(children) else selected.shape[-1]  # one-hot masks or indices
        limit = None if capacity is None else capacity * batch_size  # capacity is per sequence
        result = torch.zeros_like(hidden)
        flat = weights.reshape(-1)
        _, order = torch.sort(selected.reshape(hidden.shape[0], -1).argmax(-1))
        start = 0
        for child, count in zip(
            children, routing.tokens(hidden.shape[0] * chosen, len(children), limit), strict=True
        ):
            if count == 0:
                continue
            token = order[start : start + count]
            start += count
            result.index_add_(0, token, (child(hidden[token]) * flat[token].unsqueeze(-1)).to(hidden.dtype))
        return result

    return forward
