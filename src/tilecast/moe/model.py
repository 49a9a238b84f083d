"""What a forecast needs to know of a mixture of experts: sizes, read from a model's configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilecast.base.errors import InputError
from tilecast.models.architecture import architecture
from tilecast.models.registry import ModelSpec, load_model

ACTIVATION_BYTES = 2  # bf16


@dataclass(frozen=True)
class MoeModel:
    """A mixture of experts; an expert is one feed-forward network of one layer."""

    name: str
    title: str
    hidden: int
    experts: int  # of one layer
    top_k: int
    layers: int  # with experts that one decoded token passes
    stored_layers: int  # with experts that memory holds (an encoder's too)
    expert_bytes: float
    expert_parameters: float
    dense_bytes: float  # everything that is no expert
    dense_parameters: float
    kv_bytes: float  # of one token, all layers

    @property
    def all_expert_bytes(self) -> float:
        """Every expert of every layer."""
        return self.stored_layers * self.experts * self.expert_bytes

    @property
    def dense_bytes_a_token(self) -> float:
        """Weights outside the experts that one decoding step reads: an encoder's share rests."""
        return self.dense_bytes * self.layers / self.stored_layers


def moe_model(name_or_path: str, weight_bytes: float = 2.0) -> MoeModel:
    """The mixture of experts of a model configuration, weights of `weight_bytes` a parameter (2: bf16)."""
    return from_spec(load_model(name_or_path), weight_bytes)


def from_spec(spec: ModelSpec, weight_bytes: float = 2.0) -> MoeModel:
    """The same from a checked configuration; InputError for a model without experts, or without a known size."""
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
        name=spec.name,
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


def resized(model: MoeModel, name: str, title: str, expert_bytes: float) -> MoeModel:
    """`model` with experts that take `expert_bytes` through all layers: parameters kept, their format changed."""
    own = expert_bytes / model.stored_layers
    dense = model.dense_bytes * own / model.expert_bytes
    return replace(model, name=name, title=title, expert_bytes=own, dense_bytes=dense)
