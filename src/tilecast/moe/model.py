"""Sizes of a mixture of experts that a forecast needs: parameters, bytes, layers, experts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilecast.base.errors import InputError
from tilecast.models.architecture import architecture
from tilecast.models.registry import ModelSpec, load_model

ACTIVATION_BYTES = 2  # bf16


@dataclass(frozen=True)
class MoeModel:
    """A mixture of experts; an expert is one feed-forward network of one layer."""

    title: str
    hidden: int
    experts: int  # of one layer
    top_k: int
    layers: int  # with experts that one decoded token passes
    stored_layers: int  # with experts that memory holds (an encoder's too)
    expert_bytes: float
    expert_parameters: float
    dense_bytes: float  # all weights outside the experts
    dense_parameters: float
    kv_bytes: float  # of one token, all layers

    @property
    def dense_bytes_a_token(self) -> float:
        """Weights outside the experts that one decoding step reads; an encoder's share is not read."""
        return self.dense_bytes * self.layers / self.stored_layers

    def resized(self, title: str, expert_bytes: float) -> MoeModel:
        """The same parameters in a format in which one expert takes `expert_bytes` through all layers."""
        own = expert_bytes / self.stored_layers
        dense = self.dense_bytes * own / self.expert_bytes
        return replace(self, title=title, expert_bytes=own, dense_bytes=dense)


def moe_model(model: str | ModelSpec, weight_bytes: float = 2.0) -> MoeModel:
    """The mixture of experts of a model, by name or file or read, with `weight_bytes` a parameter (2: bf16).

    InputError if it has no experts or no known size.
    """
    spec = load_model(model) if isinstance(model, str) else model
    found = architecture(spec)
    if found.experts < 2:
        problem, remedy = "does not describe a mixture of experts", "expected num_experts or num_local_experts"
        raise InputError(spec.source, problem, remedy)
    if spec.parameters is None:
        raise InputError(spec.source, "its parameters are not counted", "give `parameters` below `tilecast`")
    if found.mixed:
        raise InputError(spec.source, "not every layer has experts", "this pattern of layers is not modelled")
    expert = float(found.expert_matrices * found.hidden * found.ffn)
    dense = spec.parameters - found.stored_expert_layers * found.experts * expert
    if not 1 <= found.top_k <= found.experts or found.expert_layers < 1 or dense <= 0:
        raise InputError(spec.source, "its experts and its parameters contradict each other", "check the counts")
    return MoeModel(
        title=spec.title,
        hidden=found.hidden,
        experts=found.experts,
        top_k=found.top_k,
        layers=found.expert_layers,
        stored_layers=found.stored_expert_layers,
        expert_bytes=expert * weight_bytes,
        expert_parameters=expert,
        dense_bytes=dense * weight_bytes,
        dense_parameters=dense,
        kv_bytes=2.0 * found.cached_layers * found.kv_heads * found.head_dim * ACTIVATION_BYTES,
    )
