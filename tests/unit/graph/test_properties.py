"""Properties of kernel lists that hold for any size."""

import os

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from tilecast.graph.fuse import fuse  # noqa: E402
from tilecast.graph.routing import Routing, parse_routing  # noqa: E402
from tilecast.graph.tracer import trace  # noqa: E402

SIZES = st.builds(
    lambda heads, width, layers, vocabulary, kind: {
        "gpt2": {"model_type": "gpt2", "n_head": heads, "n_embd": heads * width, "n_layer": layers,
                 "vocab_size": vocabulary, "n_positions": 4096},
        "llama": {"model_type": "llama", "num_attention_heads": heads, "num_key_value_heads": heads,
                  "hidden_size": heads * width, "intermediate_size": 3 * heads * width,
                  "num_hidden_layers": layers, "vocab_size": vocabulary, "max_position_embeddings": 4096},
    }[kind],
    heads=st.integers(1, 4), width=st.sampled_from([4, 6, 16]), layers=st.integers(1, 3),
    vocabulary=st.integers(5, 50), kind=st.sampled_from(["gpt2", "llama"]),
)  # fmt: skip
# Each example is several traces: few, and as many as TILECAST_FUZZ says in `make test-all`.
FEW = settings(max_examples=int(os.environ.get("TILECAST_FUZZ", "5")), deadline=None)


@pytest.mark.slow
@FEW
@given(config=SIZES, batch=st.integers(1, 5), length=st.integers(2, 40), training=st.booleans())
def test_flops_are_linear_in_the_batch(config, batch, length, training):
    mode = "training" if training else "inference"
    one, many = (trace(config, mode=mode, batch_size=size, sequence_length=length) for size in (1, batch))
    for phase in ("forward", "backward"):
        assert many.total("linear", "bmm", phase=phase) == batch * one.total("linear", "bmm", phase=phase)


@pytest.mark.slow
@FEW
@given(config=SIZES, length=st.integers(1, 40), training=st.booleans())
def test_doubling_the_sequence_doubles_linear_and_quadruples_attention(config, length, training):
    mode = "training" if training else "inference"
    short, long = (trace(config, mode=mode, sequence_length=size) for size in (length, 2 * length))
    assert long.total("linear") == 2 * short.total("linear")
    assert long.total("bmm") == 4 * short.total("bmm")


@pytest.mark.slow
@FEW
@given(config=SIZES, context=st.integers(1, 30), batch=st.integers(1, 3))
def test_decoding(config, context, batch):
    start = trace(config, phase="decode", context=0, batch_size=batch)
    assert start.kernels().equals(trace(config, sequence_length=1, batch_size=batch).kernels())
    later = trace(config, phase="decode", context=context, batch_size=batch)
    assert later.total("linear") == start.total("linear")
    assert later.total("bmm") == (context + 1) * start.total("bmm")


@FEW
@given(
    inputs=st.integers(1, 64),
    width=st.integers(1, 16),
    ways=st.sampled_from([1, 2, 4, 8]),
    tokens=st.integers(1, 9),
)
def test_shards_of_a_linear_add_up_to_the_whole(inputs, width, ways, tokens):
    def flops(a: int, b: int) -> int:
        return trace(nn.Linear(a, b), inputs=(torch.empty(tokens, a),)).total("linear")

    assert ways * flops(inputs, width) == flops(inputs, width * ways)  # by columns
    assert ways * flops(width, inputs) == flops(width * ways, inputs)  # by rows


@pytest.mark.slow
@FEW
@given(config=SIZES, length=st.integers(2, 30), training=st.booleans())
def test_fusion_keeps_the_work_and_never_moves_more(config, length, training):
    graph = trace(config, mode="training" if training else "inference", sequence_length=length)
    fused = fuse(graph)
    assert fused.total() == graph.total()
    assert fused.total("linear", "bmm") == graph.total("linear", "bmm")
    before, after = graph.summary(), fused.summary()
    assert after["kernels"] < before["kernels"]
    for side in ("bytes_read", "bytes_written"):
        assert after[side] <= before[side]
    again = fuse(fused)
    assert again.summary()["kernels"] <= after["kernels"]


@given(
    assignments=st.integers(0, 5000), experts=st.integers(1, 64), exponent=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    capacity=st.sampled_from([None, 0.5, 1.0, 1.25]), limit=st.sampled_from([None, 0, 7, 100]),
)  # fmt: skip
def test_tokens_are_shared_out_whole(assignments, experts, exponent, capacity, limit):
    counts = Routing(exponent, capacity).tokens(assignments, experts, limit)
    assert len(counts) == experts
    assert sum(counts) <= assignments
    assert min(counts) >= 0
    if capacity is None and limit is None:
        assert sum(counts) == assignments
    if limit is not None:
        assert max(counts) <= limit
    if exponent == 0 and capacity is None and limit is None:
        assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


@given(exponent=st.sampled_from([0.0, 0.7, 1.2]), capacity=st.sampled_from([None, 1.0, 1.5]))
def test_routing_is_written_as_it_is_read(exponent, capacity):
    routing = Routing(exponent, capacity)
    assert parse_routing(str(routing)) == routing
