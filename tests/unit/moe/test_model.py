"""Experts: sizes, streams, caches, exchange, placement and a whole step, against closed forms and limits."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.graph.routing import Routing
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model, model_spec
from tilecast.moe.exchange import HIGH_THROUGHPUT, LOW_LATENCY, exchange, reached
from tilecast.moe.model import moe_model, with_expert_bytes
from tilecast.moe.offload import ON_DEMAND, POLICIES, Cache, HostLink, Outcome, Predictor, _Rank, play
from tilecast.moe.step import IMPOSSIBLE, LOOP_OPERATIONS, OFFLOADED, RESIDENT, Decoder, Serving, spread
from tilecast.moe.stream import distinct, from_file, imbalance, ranks_touched, synthetic
from tilecast.moe.study import Inputs, decoder
from tilecast.multigpu.collectives import collective

HGX = load_system("a100_sxm")
A100 = "NVIDIA_A100-SXM4-80GB"


@lru_cache(maxsize=8)
def made(name: str = "qwen3_30b_a3b", device: str = A100) -> Decoder:
    """Decoding steps of a shipped model, its kernels compiled."""
    pytest.importorskip("torch")
    return decoder(name, None, device, "a100_sxm", Inputs(engine="compiled"))


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
    assert (model.layers, model.top_k) == (layers, top_k)
    assert model.expert_bytes == 2 * expert_parameters
    sent = exchange(HGX, range(8), 1, hidden=model.hidden, top_k=model.top_k, experts=model.experts).sent_bytes
    assert sent * model.layers / 1e6 == pytest.approx(megabytes, rel=1e-12)  # k h (2 + 2) 7/8 of every layer
    assert moe_model(name, weight_bytes=1).expert_bytes == model.expert_bytes / 2


SIZES = {"model_type": "mixtral", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 8}  # fmt: skip


def test_experts_and_the_rest_are_the_whole_model() -> None:
    model = moe_model("qwen3_30b_a3b")
    assert model.all_expert_bytes + model.dense_bytes == 2 * 30532122624
    studied = moe_model(with_expert_bytes(load_model("qwen3_235b_a22b"), 2e9, 8))
    assert studied.expert_bytes * studied.layers == pytest.approx(2e9, rel=0.01)
    counted = replace(load_model("qwen3_30b_a3b"), parameters=None)  # what nobody published is counted
    assert moe_model(counted).dense_bytes == pytest.approx(model.dense_bytes, rel=1e-3)


@pytest.mark.parametrize(("asked", "width"), [(96, 96), (40, 32), (3, 32)])
def test_experts_of_a_wanted_size_are_a_multiple_of_32_wide(asked: int, width: int) -> None:
    found = with_expert_bytes(load_model("qwen3_30b_a3b"), 48 * 3 * 2048 * asked * 2, 8)
    assert found.values["moe_intermediate_size"] == width


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "llama", "hidden_size": 8}, "does not describe a transformer"),
        (SIZES, "does not describe a mixture of experts"),
        (
            SIZES | {"num_local_experts": 8, "num_experts_per_tok": 9, "tilecast": {"parameters": 1e9}},
            "contradict each other",
        ),
    ],
)  # fmt: skip
def test_a_model_that_is_none_is_one_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        moe_model(model_spec(values, "mine", "mine.json"))


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


def test_a_stream_has_its_skew_and_its_locality() -> None:
    """Uniform: experts repeat by chance; `reuse`: by its share more; Zipf: the most popular are asked for most."""
    shape = {"layers": 4, "sequences": 2, "steps": 400}

    def repeated(stream: np.ndarray) -> float:
        same = (stream[1:, ..., :, None] == stream[:-1, ..., None, :]).any(-1)
        return float(same.mean())

    even, kept = (synthetic(16, 2, reuse=reuse, **shape) for reuse in (0.0, 0.3))  # type: ignore[arg-type]
    assert all(len(set(token)) == 2 for token in even.reshape(-1, 2).tolist())
    assert repeated(even) == pytest.approx(2 / 16, abs=0.02)
    assert repeated(kept) == pytest.approx(0.3 + 0.7 * 2 / 16, abs=0.03)
    skewed = synthetic(16, 1, exponent=1.0, **shape)  # type: ignore[arg-type]
    counts = np.sort(np.bincount(skewed[:, 0].ravel(), minlength=16))[::-1] / skewed[:, 0].size
    assert counts[0] == pytest.approx(1 / sum(1 / i for i in range(1, 17)), abs=0.05)
    assert imbalance(even, 1, 16) == (1.0, 0.0)
    assert 1 < imbalance(skewed, 4, 16)[0] <= 4
    assert imbalance(skewed, 4, 16, capacity=1.0)[1] == pytest.approx(0.065, abs=0.03)  # both take one expert
    assert distinct(synthetic(128, 8, layers=4, sequences=32, steps=20), 1, 128) == pytest.approx(
        128 * (1 - (1 - 8 / 128) ** 32), rel=0.02
    )


def test_a_users_trace_is_that_stream_and_a_wrong_one_is_one_line(tmp_path: Path) -> None:
    stream = synthetic(8, 2, layers=3, sequences=2, steps=4)
    rows = [
        {"sequence": where[2], "step": where[0], "layer": where[1], "expert": int(expert)}
        for where in np.ndindex(stream.shape[:3])
        for expert in stream[where]
    ]
    path = tmp_path / "trace.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert (from_file(path, 8, 2, 2) == np.sort(stream, axis=-1)).all()
    for arguments, words in (
        ((4, 2, 2), "the model has 4 experts"),
        ((8, 2, 3), "has 2 sequences"),
        ((8, 3, 1), "rows for"),
    ):
        with pytest.raises(InputError, match=words):
            from_file(path, *arguments)
    pd.DataFrame([*rows[:-1], rows[0]]).to_csv(path, index=False)
    with pytest.raises(InputError, match="rows for"):
        from_file(path, 8, 2, 2)


def played(policy: str = "lru", kept: float = 0.5, predictor: Predictor = ON_DEMAND, **changed: Any) -> Outcome:
    """A made stream of 32 experts, 4 a token, through one GPU's cache; a layer computes for a second."""
    made = {"layers": 6, "sequences": 1, "steps": 60} | {
        key: changed.pop(key) for key in ("exponent", "reuse") if key in changed
    }
    link = HostLink(changed.pop("rate", 4.0))
    given = {"expert_bytes": 1.0, "dense_s": 0.5, "experts_s": 0.5, "ranks": 1} | changed
    slots = kept * 32 * 6
    stream = synthetic(32, 4, **made)
    return play(stream, experts=32, slots=slots, policy=policy, predictor=predictor, link=link, **given)


@pytest.mark.parametrize("slots", [3, 17, 40])
def test_lru_is_the_textbook_cache(slots: int) -> None:
    random = np.random.default_rng(0)
    cache, book = Cache("lru", slots, 4, []), OrderedDict[tuple[int, int], None]()
    for _ in range(2000):
        key = (int(random.integers(4)), int(random.zipf(1.5)) % 12)
        assert (key in cache) == (key in book)
        cache.use(key)
        book[key] = None
        book.move_to_end(key)
        if len(book) > slots:
            book.popitem(last=False)


def test_a_cache_begins_with_what_it_is_given_as_far_as_it_goes() -> None:
    first = [(0, 1), (1, 1), (0, 2), (1, 2)]
    assert [key in Cache("static", 3, 2, first) for key in first] == [True, True, True, False]
    assert [key in Cache("layer-wise", 3, 2, first) for key in first] == [True, True, True, False]


def test_what_arrived_ahead_and_was_not_needed_stays_in_place_of_another() -> None:
    """Experts 5 and 6 of layer 0 are named, a second each; 5 has arrived when the layer is over, 6 is given up."""
    gpu = _Rank(Cache("lru", 1, 1, [(0, 1)]), (1, 1.0))
    gpu.name([(0, 5), (0, 6)], now=0.0)
    gpu.until(1.0)
    assert gpu.ready == {(0, 5): 1.0} and gpu.fetched == 1
    assert gpu.passed(0, wanted=[1]) == 1
    assert [(0, expert) in gpu.cache for expert in (1, 5, 6)] == [False, True, False]
    assert gpu.demand((0, 6), now=1.0) == 2.0 and gpu.fetched == 2


def test_hit_rates_are_an_outcome() -> None:
    """All alike: the share that is kept. Locality and skew raise it; `static` lives by skew alone."""
    for policy in ("layer-wise", "lfu", "static"):
        assert played(policy).hit_rate == pytest.approx(0.5, abs=0.07)
    assert played("layer-wise", reuse=0.6).hit_rate > played("layer-wise").hit_rate + 0.1
    for policy in ("lfu", "static"):
        assert played(policy, exponent=1.2).hit_rate > 0.7
    assert played("lru", kept=0.1).hit_rate == 0  # a token's own layers push out all that the next one needs
    rates = [played("layer-wise", kept=kept).hit_rate for kept in (0.0, 0.3, 0.6, 1.0)]
    assert rates == sorted(rates) and rates[0] == 0 and rates[-1] == 1


def test_waiting_on_demand_is_what_crosses_over_the_links_rate() -> None:
    none = played(kept=0.0)  # four experts of a byte at 4 bytes a second; each computes as it arrives
    assert none.waiting_s == pytest.approx(1.0 - 0.5 + 0.125)
    assert none.fetched == 4 and none.cached_rate == 0
    whole = played(kept=0.0, whole_layers=True)
    assert whole.fetched == 32 and whole.waiting_s == pytest.approx(8.0 - 0.5 + 0.5 / 32)
    assert played(kept=1.0).waiting_s == pytest.approx(0.0)


@given(st.sampled_from(POLICIES), st.floats(0, 1), st.floats(0.05, 1), st.floats(0.3, 1), st.floats(0.5, 50))
@settings(max_examples=25, deadline=None)
def test_prefetching_hides_at_most_the_computation_and_the_link_carries_everything(
    policy: str, kept: float, recall: float, precision: float, rate: float
) -> None:
    before = played(policy, kept, rate=rate)
    after = played(policy, kept, Predictor(recall, precision), rate=rate)
    assert 1 + after.waiting_s >= after.fetched / rate * 0.98  # what crosses takes the link's time
    assert before.fetched <= 4 + 1e-9
    assert after.hit_rate >= before.hit_rate - 0.12  # wrong names push others out, and little more


def test_recall_raises_the_hit_rate_and_precision_saves_the_link() -> None:
    rates = [played("layer-wise", 0.3, Predictor(recall, 1.0)).hit_rate for recall in (0.3, 0.6, 1.0)]
    assert rates == sorted(rates) and rates[-1] > 0.9
    sloppy, exact = (played("layer-wise", 0.3, Predictor(0.9, precision)) for precision in (0.3, 1.0))
    assert sloppy.fetched > 1.3 * exact.fetched and sloppy.wasted > 1 and exact.wasted == 0
    perfect = played("layer-wise", 0.0, Predictor(1.0, 1.0))
    assert perfect.waiting_s == pytest.approx(0.0, abs=0.05)  # a second to fetch behind a second of computing


def test_pieces_cost_their_start() -> None:
    assert HostLink(10.0, 0.5, 4.0).pieces(10.0) == (3, pytest.approx(10 / 3 / 10 + 0.5))
    assert HostLink(10.0).pieces(10.0) == (1, 1.0)


def test_verdicts_on_placement() -> None:
    study = decoder(None, ("qwen3_235b_a22b", 2e9, 8), A100, "a100_sxm", Inputs(engine="compiled"))
    verdicts = [study.place(spread(1, gpus), 1, Serving()).verdict for gpus in (1, 2, 4, 8)]
    assert verdicts == [OFFLOADED, OFFLOADED, RESIDENT, RESIDENT]
    odd = study.place(spread(1, 3), 1, Serving())
    assert odd.verdict == IMPOSSIBLE and "128 experts do not divide by ep 3" in odd.reason
    assert odd.resident_share == 0
    small = study.place(spread(1, 2), 1, Serving(host_bytes=1e9))
    assert small.verdict == IMPOSSIBLE and "the host has 1 GB" in small.reason
    crowded = study.place(spread(1, 1), 1, Serving(cache_share=0.001))
    assert crowded.verdict == IMPOSSIBLE and "no room for one expert of each layer" in crowded.reason
    many = study.place(spread(1, 4), 512, Serving())  # whether experts fit depends on what is decoded
    assert many.verdict == OFFLOADED and many.resident_share < 1


def test_a_resident_step_is_multigpus_own() -> None:
    """Balanced, few tokens: the same kernels and the same messages as `tilecast forecast --system`."""
    found = made()
    layout = replace(spread(1, 1), microbatch=1)
    assert found._forecaster is not None
    alone, step = found._forecaster.step(layout), found.step(spread(1, 1), 1, Serving(), 1.0)
    assert step.total_ms == pytest.approx(alone.latency_ms) and step.sent_bytes == step.communication_ms == 0
    two = found.step(spread(1, 2, 2), 1, Serving(), 1.0)
    assert two.exchange_ms > 0 and two.reduce_ms > 0 and two.imbalance > 1
    parts = two.computing_ms + two.exchange_ms + two.reduce_ms + two.looping_ms + two.waiting_ms
    assert two.total_ms == pytest.approx(parts) and two.tokens == 4
    right = replace(Serving(), predictor=Predictor(0.8, 0.8))
    assert found.step(spread(1, 2, 2), 1, right, 1.0).total_ms == two.total_ms  # nothing to fetch, nothing to gain


def test_replicas_of_one_gpu_are_that_gpu_times_as_often() -> None:
    one, four = (made().step(spread(count, 1), 1, Serving(), 0.5) for count in (1, 4))
    assert four.tokens_per_s == pytest.approx(4 * one.tokens_per_s)


def test_less_memory_slower_links_and_loops_slow_a_step() -> None:
    found = made()
    steps = [found.step(spread(1, 1), 1, Serving(policy="layer-wise"), share) for share in (1.0, 0.7, 0.3)]
    assert [step.total_ms for step in steps] == sorted(step.total_ms for step in steps)
    pageable = found.step(spread(1, 1), 1, Serving(policy="layer-wise", pinned=False), 0.3)
    looping = found.step(spread(1, 1), 1, Serving(policy="layer-wise", loop=True), 0.3)
    assert pageable.waiting_ms > 2 * steps[-1].waiting_ms and looping.looping_ms > 0
    assert steps[-1].fetched_bytes < 48 * 8 * found.model.expert_bytes
    skewed = Serving(routing=Routing(1.5), policy="lfu")
    assert found.step(spread(1, 1), 1, skewed, 0.3).hit_rate > steps[-1].hit_rate
    assert found.step(spread(1, 4), 16, skewed, 1.0).imbalance > 1.2


def test_a_step_is_the_sum_of_its_layers_by_hand() -> None:
    """Two replicas of two expert ranks, each of two tensor ranks, that keep 0.3 of their experts; 48 layers."""
    found = made()
    layout, serving = spread(2, 2, 2), Serving(policy="layer-wise", loop=True)
    step, model = found.step(layout, 3, serving, 0.3), found.model
    assert step.outcome is not None and step.outcome.fetched > 0
    assert step.waiting_ms == pytest.approx(1e3 * 48 * step.outcome.waiting_s)
    assert step.fetched_bytes == pytest.approx(step.outcome.fetched / 2 * 48 * model.expert_bytes / 2)
    used = distinct(found.stream(serving, 2 * 3 * 2), 2, model.experts)
    assert step.looping_ms == pytest.approx(48 * 1e3 * (128 / 2 - used) * LOOP_OPERATIONS * found.host_s)
    groups = [[first, first + 2] for first in (0, 1, 4, 5)]
    shape = {"hidden": model.hidden, "top_k": 8, "experts": 128, "imbalance": step.imbalance}
    sent = exchange(HGX, groups[0], 6, others=groups[1:], **shape)  # type: ignore[arg-type]
    assert step.sent_bytes == pytest.approx(48 * sent.sent_bytes / 2)
    assert step.exchange_ms == pytest.approx(48 * sent.total_ms / 2)
    assert step.tokens == 3 * 8
