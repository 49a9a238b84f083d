"""Experts: sizes, routing, placement, exchange, offload and a whole step, against closed forms and limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.graph.routing import Routing
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.models.registry import model_spec
from tilecast.moe.exchange import HIGH_THROUGHPUT, LOW_LATENCY, exchange, reached
from tilecast.moe.model import MoeModel, moe_model
from tilecast.moe.offload import LARGEST_GAIN, ON_DEMAND, Predictor, lru_hit_rate, waiting_s
from tilecast.moe.placement import IMPOSSIBLE, OFFLOADED, RESIDENT, Placement, Spread, place
from tilecast.moe.routing import chances, demand, ranks_touched
from tilecast.moe.step import Gpu, Shares, Step, decode, gpu_of
from tilecast.multigpu.collectives import collective

A100 = Gpu(85.9e9, 187e12, 1.7e12, 24.8e9)
HGX = load_system("a100_sxm")


def step(
    model: MoeModel, spread: Spread, predictor: Predictor = ON_DEMAND, tokens: int = 1, **changed: float
) -> Step:
    """A decoding step with room in the host, and what `changed` says of the GPU's memory."""
    memory = changed.pop("memory_bytes", A100.memory_bytes)
    placement = place(model, spread, memory, tokens=tokens, context_tokens=512, host_bytes=1e15)
    return decode(
        model, A100, HGX, spread, placement, tokens_per_gpu=tokens, context_tokens=512, routing=Routing(),
        predictor=predictor, **changed,
    )  # fmt: skip


def all_experts(model: MoeModel) -> float:
    """Bytes of every expert of every layer."""
    return model.stored_layers * model.experts * model.expert_bytes


@pytest.mark.parametrize(
    ("name", "expert_parameters", "layers", "top_k", "megabytes"),
    [
        ("mixtral_8x7b", 3 * 4096 * 14336, 32, 2, 0.917504),
        ("qwen3_30b_a3b", 3 * 2048 * 768, 48, 8, 2.752512),
        ("qwen3_235b_a22b", 3 * 4096 * 1536, 94, 8, 10.780672),
        ("switch_large_128", 2 * 1024 * 4096, 12, 1, 0.043008),
    ],
)
def test_real_models_have_their_sizes_and_send_exactly_their_activations(
    name: str, expert_parameters: int, layers: int, top_k: int, megabytes: float
) -> None:
    model = moe_model(name)
    assert (model.expert_parameters, model.layers, model.top_k) == (expert_parameters, layers, top_k)
    assert model.expert_bytes == 2 * expert_parameters
    sent = exchange(HGX, range(8), 1, hidden=model.hidden, top_k=model.top_k, experts=model.experts).sent_bytes
    assert sent * model.layers / 1e6 == pytest.approx(megabytes, rel=1e-12)  # k h (2 + 2) 7/8 of every layer
    assert moe_model(name, weight_bytes=1).expert_bytes == model.expert_bytes / 2


SIZES = {"model_type": "mixtral", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 8}  # fmt: skip


def test_experts_and_the_rest_are_the_whole_model() -> None:
    model = moe_model("qwen3_30b_a3b")
    assert all_experts(model) + model.dense_bytes == 2 * 30532122624
    studied = model.resized("study", 2e9)
    assert studied.expert_bytes * studied.layers == pytest.approx(2e9)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "llama", "hidden_size": 8}, "does not describe a transformer"),
        (SIZES, "does not describe a mixture of experts"),
        (SIZES | {"num_local_experts": 8}, "its parameters are not counted"),
        (
            SIZES | {"num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2,
                     "tilecast": {"parameters": 10}},
            "not every layer has experts",
        ),
        (
            SIZES | {"num_local_experts": 8, "num_experts_per_tok": 9, "tilecast": {"parameters": 1e9}},
            "contradict each other",
        ),
    ],
)  # fmt: skip
def test_a_model_that_is_none_is_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        moe_model(model_spec(values, "mine", "mine.json"))


def test_a_distinct_count_known_by_hand() -> None:
    def distinct(tokens: float) -> float:
        return demand(128, 8, 1, tokens, Routing()).distinct

    assert distinct(1) == pytest.approx(8)
    assert distinct(32) == pytest.approx(128 * (1 - (1 - 8 / 128) ** 32))
    assert round(distinct(32)) == 112
    assert distinct(1e9) == pytest.approx(128)


@given(st.integers(2, 300), st.floats(0, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_chances_sum_to_the_experts_a_token_takes(experts: int, exponent: float, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    chance = chances(experts, top_k, exponent)
    assert chance.sum() == pytest.approx(top_k)
    assert chance.min() >= 0 and chance.max() <= 1 + 1e-12
    assert (np.diff(chance) <= 1e-12).all()  # popular first
    less, more = (demand(experts, top_k, 1, tokens, Routing(exponent)).distinct for tokens in (1, 2))
    assert top_k - 1e-9 <= less <= more + 1e-9 <= experts + 1e-6


@given(
    st.integers(1, 4000), st.integers(1, 8), st.sampled_from([8, 32, 128]), st.sampled_from([1, 2, 4, 8]),
    st.floats(0, 2), st.one_of(st.none(), st.floats(0.5, 4)),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_busiest_gpu_has_at_least_the_mean_and_at_most_its_experts_capacity(
    tokens: int, top_k: int, experts: int, ranks: int, exponent: float, capacity: float | None
) -> None:
    found = demand(experts, top_k, ranks, tokens, Routing(exponent, capacity))
    kept = (1 - found.dropped) * tokens * top_k
    assert found.imbalance >= 1 - 1e-12
    assert found.assigned == pytest.approx(found.imbalance * kept / ranks)
    if capacity is None:
        assert found.dropped == pytest.approx(0, abs=1e-9)
    else:  # no expert takes more than its capacity
        assert found.assigned <= capacity * tokens * top_k / ranks * (1 + 1e-9)


def test_ranks_touched_in_limits() -> None:
    assert ranks_touched(1, 8, 256) == 1
    assert ranks_touched(256, 8, 256) == pytest.approx(8)  # an expert a rank
    assert 5.2 < ranks_touched(8, 8, 256) < 5.4
    assert reached(8, 8, 256, (8, 4)) == pytest.approx(4)  # eight nodes, a group each, four of them chosen
    assert 1.9 < reached(2, 8, 256, (8, 4)) < 2


@pytest.mark.parametrize("kernel", [LOW_LATENCY, HIGH_THROUGHPUT])
def test_one_gpu_sends_nothing(kernel: str) -> None:
    found = exchange(HGX, [3], 1000, hidden=4096, top_k=8, experts=128, kernel=kernel)
    assert (found.total_ms, found.sent_bytes) == (0, 0)
    assert exchange(HGX, range(8), 0, hidden=4096, top_k=8, experts=128, kernel=kernel).total_ms == 0


@given(st.integers(1, 4096), st.integers(1, 8), st.floats(1, 3))
@settings(max_examples=40, deadline=None)
def test_an_exchange_grows_with_tokens_and_imbalance(tokens: int, top_k: int, imbalance: float) -> None:
    shape = {"hidden": 2048, "top_k": top_k, "experts": 64, "kernel": HIGH_THROUGHPUT}
    plain = exchange(HGX, range(4), tokens, **shape)  # type: ignore[arg-type]
    more = exchange(HGX, range(4), tokens + 1, imbalance=imbalance, **shape)  # type: ignore[arg-type]
    assert more.sent_bytes > plain.sent_bytes > 0
    assert more.total_ms >= plain.total_ms > 0


def test_across_nodes_a_token_goes_once_to_each_node() -> None:
    cluster = load_system("dgx_h100")
    shape = {"hidden": 7168, "top_k": 8, "experts": 256}
    by_node = exchange(cluster, range(16), 4096, kernel=HIGH_THROUGHPUT, **shape)  # type: ignore[arg-type]
    flat = exchange(cluster, range(16), 4096, kernel=LOW_LATENCY, **shape)  # type: ignore[arg-type]
    assert by_node.total_ms < flat.total_ms
    within = exchange(cluster, range(8), 4096, kernel=HIGH_THROUGHPUT, **shape)  # type: ignore[arg-type]
    assert within.total_ms < by_node.total_ms


def test_dispatch_between_nodes_is_once_to_each_node_and_within_it_to_each_gpu() -> None:
    """Every expert is chosen: a token goes to both nodes and to all 16 GPUs; bf16, a hidden width of 7168."""
    cluster = load_system("dgx_h100")
    found = exchange(cluster, range(16), 4096, hidden=7168, top_k=16, experts=16, kernel=HIGH_THROUGHPUT)
    rails = [[gpu, gpu + 8] for gpu in range(8)]
    between = collective("all_to_all", cluster, rails[0], 4096 * 2 * 7168 * 2, rails[1:]).latency_ms
    within = collective("all_to_all", cluster, list(range(8)), 4096 * 16 * 7168 * 2).latency_ms
    assert found.dispatch_ms == found.combine_ms == max(between, within)
    assert found.sent_bytes == 2 * 4096 * 16 * 7168 * 2 * 15 / 16
    wide = load_system("dgx_h100")
    slow = exchange(wide, range(16), 4096, hidden=7168, top_k=2, experts=16, kernel=HIGH_THROUGHPUT)
    nodes_reached = 1 + 8 / 15  # the second of two experts is on the other node for 8 of the 15 others
    network = collective("all_to_all", wide, rails[0], 4096 * nodes_reached * 7168 * 2, rails[1:]).latency_ms
    assert slow.dispatch_ms == pytest.approx(network, rel=0.05)


def test_a_gpus_rates_are_those_of_its_matrix_units_memory_and_host_link() -> None:
    device = load_device("H100")
    found = gpu_of(device, Shares(0.5, 0.25, 0.125))
    assert found.flops_per_s == 0.5 * device.peak_flops_per_s("bf16", matrix=True)
    assert found.flops_per_s > device.peak_flops_per_s("bf16", matrix=False)
    assert found.bandwidth_bytes_per_s == 0.25 * device.bandwidth_bytes_per_s
    (host,) = (link.bytes_per_s for link in device.links if link.kind.startswith("pcie"))
    assert (found.host_bytes_per_s, found.memory_bytes) == (0.125 * host, device.memory_bytes)


def test_a_layer_has_two_all_reduces_of_its_tokens() -> None:
    """TP2: after attention and after the experts, the activations of both GPUs' tokens in bf16."""
    model, tokens = moe_model("mixtral_8x7b"), 3
    found = step(model, Spread(1, 1, 2), tokens=tokens, memory_bytes=1e12)
    one = collective("all_reduce", HGX, [0, 1], 2 * tokens * model.hidden * 2).latency_ms
    assert found.reduce_ms == pytest.approx(2 * model.layers * one, rel=1e-12)
    assert step(model, Spread(1, 2), tokens=tokens, memory_bytes=1e12).reduce_ms == 0


def simulated_hit_rate(chance: np.ndarray, slots: int, steps: int = 6000) -> float:
    """A least-recently-used cache, request by request."""
    random, cache, hits, asked = np.random.default_rng(0), [], 0, 0
    for turn in range(steps):
        for expert in random.permutation(np.flatnonzero(random.random(len(chance)) < chance)):
            hit = expert in cache
            if hit:
                cache.remove(expert)
            cache.append(expert)
            cache[:] = cache[-slots:]
            if turn > steps // 10:
                hits, asked = hits + hit, asked + 1
    return hits / asked


@pytest.mark.parametrize("exponent", [0.0, 1.2])
@pytest.mark.parametrize("slots", [4, 16, 28])
def test_the_hit_rate_is_that_of_a_simulated_cache(exponent: float, slots: int) -> None:
    chance = chances(32, 2, exponent)
    assert lru_hit_rate(chance, slots) == pytest.approx(simulated_hit_rate(chance, slots), abs=0.05)


def test_hit_rates_in_limits() -> None:
    chance = chances(64, 4, 0.7)
    rates = [lru_hit_rate(chance, slots) for slots in (0, 1, 8, 32, 63, 64, 100)]
    assert rates[0] == 0 and rates[-2:] == [1, 1]
    assert rates == sorted(rates)
    assert lru_hit_rate(chances(64, 4), 16) == pytest.approx(0.25, abs=1e-6)  # all alike: the share that is held


def simulated_layers(missed_s: float, compute_s: float, predictor: Predictor, layers: int = 400) -> float:
    """Seconds a layer waits in the long run: one link that fetches for the next layer while this one computes."""
    named = predictor.recall * missed_s / predictor.precision
    demanded = (1 - predictor.recall) * missed_s
    now = free = ready = 0.0  # free: when the link is; ready: when this layer's prefetch has arrived
    for _ in range(layers):
        now = max(now, ready)
        begin = max(now, free) + demanded  # what was missed comes first: the layer cannot go on without it
        free = ready = begin + named  # then the link fetches for the next layer, as this one computes
        now = begin + compute_s
    return now / layers - compute_s


@given(st.floats(0, 5), st.floats(0.1, 5), st.floats(0, 1), st.floats(0.3, 1))
@settings(max_examples=60, deadline=None)
def test_waiting_is_that_of_a_simulated_link(
    missed: float, compute: float, recall: float, precision: float
) -> None:
    predictor = Predictor(recall, precision)
    closed = waiting_s(missed, compute, 1.0, predictor)
    assert simulated_layers(missed, compute, predictor) == pytest.approx(closed, rel=0.02, abs=0.02)


@given(st.floats(0, 1e12), st.floats(0, 10), st.floats(0, 1), st.floats(0.05, 1), st.floats(0, 3))
@settings(max_examples=100, deadline=None)
def test_hiding_gains_at_most_twice_and_the_link_carries_everything(
    missed: float, compute: float, recall: float, precision: float, lookahead: float
) -> None:
    after = compute + waiting_s(missed, compute, 25e9, Predictor(recall, precision, lookahead))
    before = compute + waiting_s(missed, compute, 25e9, ON_DEMAND)
    assert before == pytest.approx(compute + missed / 25e9)
    assert before <= LARGEST_GAIN * after * (1 + 1e-12)
    # the link is never asked for more than it can carry: what was not named, and what was, rightly or wrongly
    assert after >= missed * (1 - recall + recall / precision) / 25e9 * (1 - 1e-9)


def test_the_exposed_time_is_the_formula() -> None:
    perfect = Predictor(1.0, 1.0)
    assert waiting_s(50e9, 1.5, 25e9, perfect) == pytest.approx(0.5)
    assert waiting_s(25e9, 1.5, 25e9, perfect) == 0
    assert waiting_s(25e9, 1.5, 25e9, Predictor(1.0, 1.0, lookahead_layers=0)) == pytest.approx(1.0)
    assert waiting_s(25e9, 1.5, 25e9, ON_DEMAND) == pytest.approx(1.0)
    assert waiting_s(25e9, 0.0, 25e9, Predictor(0.8, 0.8)) == pytest.approx(1.2)  # wrong ones cost


def placed(expert: int, memory: float = 85.9e9, host: float = 1e15) -> Placement:
    model = moe_model("qwen3_235b_a22b").resized("study", 2e9)
    return place(
        model, Spread(1, expert), memory, tokens=1, context_tokens=2048, reserved_bytes=2e9, host_bytes=host
    )


def test_verdicts_on_placement() -> None:
    assert [placed(gpus).verdict for gpus in (1, 2, 4, 8)] == [OFFLOADED, OFFLOADED, RESIDENT, RESIDENT]
    assert placed(10).verdict == IMPOSSIBLE and "12.8 each, no whole number" in placed(10).reason
    assert placed(2, host=1e9).verdict == IMPOSSIBLE and "the host has 1 GB" in placed(2, host=1e9).reason
    assert (
        placed(8, memory=10e9).verdict == IMPOSSIBLE and "no room for one expert" in placed(8, memory=10e9).reason
    )
    with pytest.raises(InputError, match=r"one expert is 0\.0213 GB, a GPU has 0\.01 GB"):
        placed(8, memory=1e7)


def test_where_everything_is_resident_prefetching_gains_nothing() -> None:
    model, right = moe_model("qwen3_30b_a3b"), Predictor(0.8, 0.8)
    whole = all_experts(model) + model.dense_bytes + 1e9
    gains = []
    for share in (0.3, 0.6, 0.9, 0.9985, 1.0):
        memory = model.dense_bytes + 1e8 + share * all_experts(model) if share < 1 else whole
        before = step(model, Spread(1, 1), memory_bytes=memory)
        after = step(model, Spread(1, 1), right, memory_bytes=memory)
        gains.append(after.tokens_per_s / before.tokens_per_s)
    assert gains[-1] == 1 and 0 < gains[-2] - 1 < 0.05
    assert step(model, Spread(1, 1), memory_bytes=whole).waiting_ms == 0


def test_a_step_adds_up_and_one_gpu_communicates_nothing() -> None:
    model = moe_model("qwen3_30b_a3b")
    alone, eight, shared = step(model, Spread(1, 1)), step(model, Spread(1, 8)), step(model, Spread(1, 4, 2))
    assert alone.communication_ms == alone.sent_bytes == 0
    assert eight.exchange_ms > 0 and eight.reduce_ms == 0 and shared.reduce_ms > 0
    for found in (alone, eight, shared):
        parts = found.dense_ms + found.experts_ms + found.exchange_ms + found.reduce_ms + found.waiting_ms
        assert found.total_ms == pytest.approx(parts)
    assert (alone.tokens, eight.tokens, shared.tokens) == (1, 8, 8)
    assert shared.dense_ms < eight.dense_ms  # each GPU reads half of the other weights


def test_replicas_of_one_gpu_are_that_gpu_times_as_often() -> None:
    model = moe_model("qwen3_30b_a3b")
    assert step(model, Spread(4, 1)).tokens_per_s == pytest.approx(4 * step(model, Spread(1, 1)).tokens_per_s)


def test_no_step_is_faster_than_its_bytes_and_flops() -> None:
    model = moe_model("qwen3_30b_a3b")
    for tokens in (1, 16, 256, 4096):
        found = step(model, Spread(1, 8), tokens=tokens)
        read = demand(model.experts, model.top_k, 8, 8 * tokens, Routing()).distinct
        bytes_ms = read * model.expert_bytes * model.layers / A100.bandwidth_bytes_per_s * 1e3
        work_ms = 2 * model.expert_parameters * tokens * model.top_k * model.layers / A100.flops_per_s * 1e3
        assert found.experts_ms >= max(bytes_ms, work_ms) * (1 - 1e-9)


def test_batching_leaves_less_to_win_and_skew_slows() -> None:
    model = moe_model("qwen3_30b_a3b")
    few, many = step(model, Spread(1, 8), tokens=1), step(model, Spread(1, 8), tokens=32)
    assert many.tokens_per_s > few.tokens_per_s
    assert demand(model.experts, model.top_k, 8, 8 * 32, Routing()).distinct > 15.9  # of 16: all a GPU holds
    # With tokens for every expert the busiest GPU computes longest; with few, skew leaves fewer experts to read.
    placement = place(model, Spread(1, 8), A100.memory_bytes, tokens=4096, context_tokens=0)
    shape = {"tokens_per_gpu": 4096, "context_tokens": 0, "predictor": ON_DEMAND}
    times = [
        decode(model, A100, HGX, Spread(1, 8), placement, routing=Routing(exponent), **shape).total_ms  # type: ignore[arg-type]
        for exponent in (0.0, 0.4, 0.8)
    ]
    assert times[0] < times[1] < times[2]
    cap = Routing(0.8, capacity=1.0)  # no expert over its share: tokens are lost
    capped = decode(model, A100, HGX, Spread(1, 8), placement, routing=cap, **shape)  # type: ignore[arg-type]
    assert 0.1 < demand(model.experts, model.top_k, 8, 8 * 4096, cap).dropped < 0.9
    assert capped.total_ms < times[2]
