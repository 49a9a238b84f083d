"""Sizes of a mixture of experts that fetching and sending need: bytes, layers, experts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilecast.base.errors import InputError
from tilecast.models.architecture import architecture, equal_layers
from tilecast.models.registry import ModelSpec, load_model
from tilecast.multigpu.memory import parameters

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
    matrices: int  # of one expert
    dense_bytes: float  # all weights outside the experts

    @property
    def all_expert_bytes(self) -> float:
        """Every expert of every layer that memory holds."""
        return self.stored_layers * self.experts * self.expert_bytes


def with_expert_bytes(spec: ModelSpec, size: float, top_k: int, weight_bytes: float = 2.0) -> ModelSpec:
    """The model with experts as wide as makes one take `size` bytes through all layers, a multiple of 32."""
    found = architecture(spec)
    width = size / (found.stored_expert_layers * found.expert_matrices * found.hidden * weight_bytes)
    width = max(32, 32 * round(width / 32))
    more = found.stored_expert_layers * found.experts * found.expert_matrices * found.hidden * (width - found.ffn)
    values = {**spec.values, "moe_intermediate_size": width, "num_experts_per_tok": top_k}
    parameters = None if spec.parameters is None else int(spec.parameters + more)
    return replace(
        spec, values=values, parameters=parameters, title=f"{found.experts} experts of {size / 1e9:g} GB"
    )


def moe_model(model: str | ModelSpec, weight_bytes: float = 2.0) -> MoeModel:
    """The mixture of experts of a model, by name or file or read, with `weight_bytes` a parameter (2: bf16).

    Parameters that are not published are counted. InputError if it has no experts.
    """
    spec = load_model(model) if isinstance(model, str) else model
    found = architecture(spec)
    if found.experts < 2:
        problem, remedy = "does not describe a mixture of experts", "expected num_experts or num_local_experts"
        raise InputError(spec.source, problem, remedy)
    counted = parameters(equal_layers(spec)) if spec.parameters is None else spec.parameters
    expert = float(found.expert_matrices * found.hidden * found.ffn)
    dense = counted - found.stored_expert_layers * found.experts * expert
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
        matrices=found.expert_matrices,
        dense_bytes=dense * weight_bytes,
    )
