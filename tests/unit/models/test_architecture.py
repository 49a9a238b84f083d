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
        ("qwen3_30b_a3b", {"decoder_sparse_step": 2}, "mixes dense layers"),
        ("qwen3_30b_a3b", {"mlp_only_layers": [0]}, "mixes dense layers"),
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
