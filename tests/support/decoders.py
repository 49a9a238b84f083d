"""Small configurations of published decoder families, and what their ranks' work adds up to."""

from __future__ import annotations

from typing import Any, NamedTuple

from tilecast.base.errors import InputError
from tilecast.graph.source import kernel_graph
from tilecast.models.architecture import ATTENDS, SCANS, Architecture, equal_layers, layer_kinds
from tilecast.models.registry import ModelSpec, model_spec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.multigpu.memory import cache_bytes

SIZES = {"hidden_size": 256, "num_attention_heads": 8, "vocab_size": 512, "intermediate_size": 768}
GROUPED = SIZES | {"num_key_value_heads": 4, "head_dim": 32, "pad_token_id": 0}
ROUTED = {"num_experts_per_tok": 2, "moe_intermediate_size": 128, "n_routed_experts": 8, "n_shared_experts": 1}
ROUTED |= {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128}
LATENT = {"q_lora_rank": 96, "kv_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32}
SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
DELTA = {"linear_num_value_heads": 8, "linear_num_key_heads": 4, "linear_key_head_dim": 16}
DELTA |= {"linear_value_head_dim": 32, "linear_conv_kernel_dim": 4, "shared_expert_intermediate_size": 128}
STATE = {"mamba_num_heads": 16, "mamba_head_dim": 32, "n_groups": 4, "ssm_state_size": 16, "chunk_size": 16}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {  # family: name of its type, sizes
    "GPT-NeoX": ("gpt_neox", SIZES),
    "Falcon": ("falcon", SIZES | {"multi_query": False}),
    "Falcon, one key": ("falcon", SIZES),
    "Falcon, newer": ("falcon", SIZES | {"new_decoder_architecture": True, "num_kv_heads": 4}),
    "GPT-J": ("gptj", {"n_embd": 256, "n_head": 8, "vocab_size": 512, "rotary_dim": 16, "n_layer": 2}),
    "BLOOM": ("bloom", {"hidden_size": 256, "n_head": 8, "vocab_size": 512, "n_layer": 2}),
    "MPT": ("mpt", {"d_model": 256, "n_heads": 8, "vocab_size": 512, "n_layers": 2}),
    "Phi-3": ("phi3", GROUPED),
    "Gemma-2": ("gemma2", GROUPED | SLIDING),
    "Gemma-3": ("gemma3_text", GROUPED | SLIDING),
    "Gemma-4": ("gemma4_text", GROUPED | SLIDING | {"global_head_dim": 32, "hidden_size_per_layer_input": 0}),
    "Command-R": ("cohere", GROUPED),
    "OLMo-2": ("olmo2", GROUPED),
    "StarCoder2": ("starcoder2", GROUPED),
    "Granite": ("granite", GROUPED),
    "Qwen2": ("qwen2", GROUPED),
    "Qwen3": ("qwen3", GROUPED),
    "Qwen3-MoE": ("qwen3_moe", GROUPED | EXPERTS),
    "Qwen3-Next": ("qwen3_next", GROUPED | EXPERTS | DELTA | {"layer_types": [SCANS, "full_attention"]}),
    "Mixtral": ("mixtral", GROUPED | {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "GLM-4.5": ("glm4_moe", GROUPED | ROUTED),
    "DeepSeek-V2": ("deepseek_v2", SIZES | {"num_key_value_heads": 8} | LATENT | ROUTED),
    "DeepSeek-V3": ("deepseek_v3", SIZES | {"num_key_value_heads": 8} | LATENT | ROUTED),
    "Kimi-K2": ("kimi_k2", SIZES | {"num_key_value_heads": 8} | LATENT | ROUTED),
    "gpt-oss": ("gpt_oss", GROUPED | SLIDING | {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "Llama-4": ("llama4_text", GROUPED | {"num_local_experts": 8, "num_experts_per_tok": 1,
                                          "interleave_moe_layer_step": 2, "intermediate_size_mlp": 512}),
    "Nemotron-H": ("nemotron_h", GROUPED | STATE | {"hybrid_override_pattern": "M*-M", "num_hidden_layers": 4}),
}  # fmt: skip


def small(family: str) -> ModelSpec:
    """A model of the family with a layer of each kind."""
    kind, sizes = DECODERS[family]
    layers = {} if {"n_layer", "n_layers"} & set(sizes) else {"num_hidden_layers": 2}
    return model_spec({"model_type": kind, **layers, **sizes}, family, family)


class Sums(NamedTuple):
    """What all ranks together have beyond the whole, and what of it are copies with a name."""

    flops: float
    weights: float
    cache: float
    copied_flops: float
    copied_weights: float
    copied_cache: float
    whole_weights: float


def sums(family: str, tp: int, decode: bool = False) -> Sums:
    """Of products and attention, matrices, and keys, values and states: the ranks' sum less the whole."""
    spec = small(family)
    model = equal_layers(spec)
    step = {"phase": "decode", "context": 32} if decode else {"sequence_length": 32}

    def of(degree: int) -> tuple[float, float, float]:
        graph = kernel_graph(spec, batch_size=2, dtype="bf16", tp=degree, **step)  # type: ignore[arg-type]
        work = Workload(
            spec, 2, 1 if decode else 32, dtype="bf16", **{k: step[k] for k in step if k != "sequence_length"}
        )
        cache = float(cache_bytes(model, work, Layout(tp=degree), model.layers))
        return graph.total("linear", "bmm", "attention"), graph.about["parameters"], cache

    whole, part = of(1), of(tp)
    extra = [tp * b - a for a, b in zip(whole, part, strict=True)]
    copied = sum(copies(spec, model, tp).values())
    again = tp - 1 if model.latent else max(tp / model.kv_heads - 1, 0)
    keys = whole[2] - model.layers * model.scanning * model.state_bytes * 2
    return Sums(*extra, 2 * (2 if decode else 64) * copied, copied, again * keys, whole[1])


def copies(spec: ModelSpec, model: Architecture, tp: int) -> dict[str, float]:
    """Elements of matrices that ranks hold beyond the first, by name."""
    attend = sum(kind.attention in ATTENDS for kind in layer_kinds(spec))
    latent = model.latent_parameters[0] - sum(
        int(spec.values.get(k) or 0) for k in ("kv_lora_rank", "q_lora_rank")
    )
    beyond = max(tp / model.kv_heads - 1, 0) * 2 * model.hidden * model.kv_heads * model.head_dim
    gates = model.hidden if spec.values["model_type"] == "qwen3_next" else 0
    return {
        "routers": (tp - 1) * model.expert_layers * (model.hidden * model.experts + gates),
        "latent projections": (tp - 1) * attend * (latent if model.latent else 0),
        "keys and values beyond their heads": attend * (0 if model.latent else beyond),
    }


def verdict(family: str) -> str:
    """A row of the table in the documentation."""
    try:
        found = [(tp, decode, sums(family, tp, decode)) for tp in (2, 4) for decode in (False, True)]
    except InputError as error:
        return f"| {family} | refused: {error} | | | |"
    equal = [
        all(abs(s.flops - s.copied_flops) <= 1 for *_, s in found),
        all(0 <= s.weights - s.copied_weights <= 0.02 * s.whole_weights for *_, s in found),
        all(abs(s.cache - s.copied_cache) <= 1 for *_, s in found),
    ]
    spec = small(family)
    named = [name for name, count in copies(spec, equal_layers(spec), 4).items() if count]
    latent = ["the cache of latents"] if equal_layers(spec).latent else []
    words = ["equal" if one else "not equal" for one in equal]
    return f"| {' | '.join([family, *words, ', '.join(named + latent) or 'none'])} |"
