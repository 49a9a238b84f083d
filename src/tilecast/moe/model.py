"""What a forecast needs to know of a mixture of experts: sizes, read from a model's configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tilecast.base.documents import listed, shown
from tilecast.base.errors import InputError
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
    try:
        return _from_spec(spec, weight_bytes)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            spec.source, f"its sizes cannot be understood ({shown(str(error))})", "check its values"
        ) from None


def _from_spec(spec: ModelSpec, weight_bytes: float) -> MoeModel:
    value = spec.values
    experts = _first(value, "num_local_experts", "num_experts", "n_routed_experts")
    if experts is None or experts < 2:
        raise InputError(
            spec.source, "describes no mixture of experts", "expected num_experts or num_local_experts"
        )
    if spec.parameters is None:
        raise InputError(spec.source, "its parameters are not counted", "give `parameters` below `tilecast`")
    hidden = _need(spec, "hidden_size", "d_model")
    if value["model_type"] == "switch_transformers":
        matrices, top_k = 2, 1
        layers, stored = value["num_sparse_decoder_layers"], value["num_sparse_encoder_layers"]
        stored += layers
        attention = 2 * value["num_decoder_layers"]  # of itself and across
        heads = value["num_heads"] * value["d_kv"]
    else:  # gated: up, gate, down
        matrices, top_k = 3, _need(spec, "num_experts_per_tok")
        layers = value["num_hidden_layers"] - len(
            listed(value.get("mlp_only_layers"), "mlp_only_layers", spec.source)
        )
        if value.get("decoder_sparse_step", 1) != 1 or value.get("first_k_dense_replace"):
            raise InputError(spec.source, "not every layer has experts", "this pattern of layers is not modelled")
        stored, attention = layers, value["num_hidden_layers"]
        width = value.get("head_dim") or hidden // value["num_attention_heads"]
        heads = value.get("num_key_value_heads", value["num_attention_heads"]) * width
    inner = _need(spec, "moe_intermediate_size", "intermediate_size", "d_ff")
    expert = float(matrices * hidden * inner)
    dense = spec.parameters - stored * experts * expert
    if not 1 <= top_k <= experts or dense <= 0:
        raise InputError(spec.source, "its experts and its parameters contradict each other", "check the counts")
    return MoeModel(
        name=spec.name,
        title=spec.title,
        hidden=hidden,
        experts=experts,
        top_k=top_k,
        layers=layers,
        stored_layers=stored,
        expert_bytes=expert * weight_bytes,
        expert_parameters=expert,
        dense_bytes=dense * weight_bytes,
        dense_parameters=dense,
        kv_bytes=2.0 * attention * heads * ACTIVATION_BYTES,
    )


def resized(model: MoeModel, name: str, title: str, expert_bytes: float) -> MoeModel:
    """`model` with experts that take `expert_bytes` through all layers: parameters kept, their format changed."""
    own = expert_bytes / model.stored_layers
    dense = model.dense_bytes * own / model.expert_bytes
    return replace(model, name=name, title=title, expert_bytes=own, dense_bytes=dense)


def _first(values: Any, *names: str) -> int | None:
    return next((values[name] for name in names if values.get(name)), None)


def _need(spec: ModelSpec, *names: str) -> int:
    found = _first(spec.values, *names)
    if found is None:
        raise InputError(spec.source, f"`{names[0]}` is missing", "a mixture of experts needs it")
    return found
