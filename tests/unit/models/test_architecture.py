"""A transformer's dimensions: as published, of every kind of configuration, and refusals in one line."""

from __future__ import annotations

import pytest

from tilecast.base.errors import InputError
from tilecast.models.architecture import architecture, equal_layers
from tilecast.models.registry import load_model, model_spec
from tilecast.multigpu.memory import parameters


@pytest.mark.parametrize("name", ["llama2_7b", "llama2_70b", "llama3_8b", "mixtral_8x7b", "gpt2_large"])
def test_parameters_are_those_published(name):
    """The checkpoints' counts; GPT-2 large has 774,030,080."""
    spec = load_model(name)
    assert parameters(equal_layers(spec)) == (spec.parameters or 774_030_080)


def test_an_encoder_and_decoder_counts_what_a_token_passes_and_what_memory_holds():
    found = architecture(load_model("switchxl4"))
    assert (found.layers, found.expert_layers, found.stored_expert_layers, found.cached_layers) == (24, 12, 24, 48)
    assert (found.experts, found.top_k, found.expert_matrices, found.ffn) == (4, 1, 2, 16384)


@pytest.mark.parametrize(
    ("model", "changed", "words"),
    [
        ("switchxl4", {}, "no stack of equal layers"),
        ("qwen3_30b_a3b", {"layer_types": ["linear_attention"] * 48}, "layers of kind linear_attention"),
        ("qwen3_30b_a3b", {"layer_types": ["full_attention"]}, "`layer_types` has not one kind for each layer"),
        ("resnet50", {}, "does not describe a transformer; it needs `num_hidden_layers`"),
        ("llama2_7b", {"vocab_size": 0}, "expected at least 1"),
        ("llama2_7b", {"num_key_value_heads": 1.5}, "`num_key_value_heads` is not a whole number"),
        ("llama2_7b", {"num_hidden_layers": "many"}, "'many' is not a whole number"),
    ],
)
def test_a_model_without_equal_layers_is_refused(model, changed, words):
    with pytest.raises(InputError, match=words):
        equal_layers(model_spec({**load_model(model).values, **changed}, "x", "x"))


@pytest.mark.parametrize(
    ("values", "heads"),
    [
        ({"model_type": "falcon"}, 1),  # one key-value head for all queries
        ({"model_type": "falcon", "multi_query": False}, 16),
        ({"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 4}, 4),
        ({"model_type": "falcon", "num_kv_heads": 4}, 1),  # which its class ignores without the newer layer
        ({"model_type": "gpt_bigcode"}, 1),
        ({"model_type": "gpt_neox"}, 16),
        ({"model_type": "qwen3", "num_key_value_heads": 2}, 2),
    ],
)
def test_key_value_heads_are_those_of_the_model_class(values, heads):
    sizes = {"num_hidden_layers": 4, "hidden_size": 1024, "num_attention_heads": 16, "vocab_size": 1000}
    assert architecture(model_spec({**sizes, **values}, "m", "m")).kv_heads == heads


LATENT = {
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
}
DEEPSEEK = LATENT | {
    "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432, "moe_intermediate_size": 2048,
    "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "n_shared_experts": 1,
    "n_routed_experts": 256, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "vocab_size": 129280,
    "tie_word_embeddings": False,
}  # fmt: skip
KIMI = DEEPSEEK | {"model_type": "kimi_k2", "num_attention_heads": 64, "n_routed_experts": 384}
KIMI |= {"first_k_dense_replace": 1, "vocab_size": 163840}
SCOUT = {
    "model_type": "llama4_text", "hidden_size": 5120, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
    "num_hidden_layers": 48, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
    "num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "vocab_size": 202048,
    "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "billions"),  # as their model cards say
    [
        (DEEPSEEK, 671),
        (KIMI, 1026),
        (SCOUT, 108),
        (SCOUT | {"num_local_experts": 128, "interleave_moe_layer_step": 2}, 401),
    ],
)
def test_parameters_of_layers_of_several_kinds_add_up(values, billions):
    assert round(parameters(equal_layers(model_spec(values, "m", "m"))) / 1e9) == billions
