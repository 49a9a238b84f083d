"""Serving: definitions hold exactly, memory bounds the batch, one GPU is the forecast of one GPU."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilecast.graph.tracer import trace
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import load_system
from tilecast.models.registry import load_model
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout
from tilecast.predict.baselines.roofline import Roofline
from tilecast.serving.server import Server, best
from tilecast.serving.steady import queued_ms, steady

DEVICE = load_device("H100")
PROMPT, OUTPUT = 256, 65


@lru_cache
def server(model: str = "llama2_7b", assume: Assumptions = STANDARD, continuous: bool = False) -> Server:
    system = load_system("h100_sxm")
    return Server(
        load_model(model), system, DEVICE, Roofline(), PROMPT, OUTPUT, assume=assume, continuous=continuous
    )


def test_every_layer_of_a_decode_step_is_alike() -> None:
    graph = trace("llama2_7b", phase="decode", context=300, dtype="bf16", attention="fused")
    layers: dict[str, list[object]] = {}
    for kernel, module in graph.launches():
        if "layers." in module:
            layers.setdefault(module.split(".")[2], []).append(kernel)
    assert len(layers) == 32 and all(kernels == layers["0"] for kernels in layers.values())


@pytest.mark.parametrize(("phase", "place"), [("prefill", "ttft_ms"), ("decode", "tpot_ms")])
def test_one_gpu_is_the_forecast_of_its_kernels(phase: str, place: str) -> None:
    from tilecast.graph.fuse import fuse
    from tilecast.predict.model import forecast_model

    length = {"context": PROMPT + OUTPUT // 2} if phase == "decode" else {"sequence_length": PROMPT}
    graph = trace("llama2_7b", phase=phase, batch_size=4, dtype="bf16", attention="fused", **length)  # type: ignore[arg-type]
    alone = forecast_model(fuse(graph), Roofline(), DEVICE)["latency_ms"]
    assert getattr(server().serve(Layout(microbatch=4)), place)[0] == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("layout", [Layout(microbatch=2), Layout(tp=4, microbatch=2), Layout(tp=2, pp=2, dp=2)])
def test_throughput_is_tokens_over_time(layout: Layout) -> None:
    served = server().serve(layout)
    assert served.sequences == layout.pp * layout.microbatch
    whole_ms = served.ttft_ms[0] + (OUTPUT - 1) * served.tpot_ms[0]
    assert served.tokens_per_s == pytest.approx(layout.dp * served.sequences * OUTPUT / whole_ms * 1e3)
    assert served.decode.keys() - {"other stages"} == served.prefill.keys() - {"bubble"}
    assert sum(served.prefill.values()) == pytest.approx(served.ttft_ms[0])


def test_replicas_change_throughput_alone() -> None:
    one, four = server().serve(Layout(tp=2)), server().serve(Layout(tp=2, dp=4))
    assert four.tokens_per_s == pytest.approx(4 * one.tokens_per_s)
    assert (four.ttft_ms, four.tpot_ms) == (one.ttft_ms, one.tpot_ms)


def test_a_pipeline_of_busy_stages_makes_a_token_a_pass() -> None:
    """With as many groups as stages, no token waits but for the slowest stage."""
    one, two = server().serve(Layout()), server().serve(Layout(pp=2))
    assert two.sequences == 2 * one.sequences
    assert one.tpot_ms[0] <= two.tpot_ms[0] < 1.5 * one.tpot_ms[0]


@pytest.mark.parametrize("layout", [Layout(), Layout(tp=4), Layout(pp=2), Layout(tp=2, pp=2)])
def test_the_most_sequences_fit_and_one_more_does_not(layout: Layout) -> None:
    most = server().most(layout)
    assert most > 0 and most % layout.pp == 0
    room = most // layout.pp
    assert server().memory(replace(layout, microbatch=room)).fits
    assert not server().memory(replace(layout, microbatch=room + 1)).fits


def test_no_room_is_none() -> None:
    assert server("llama2_70b").most(Layout()) == 0
    assert server("llama2_70b").tried(Layout()) == []


def test_the_fastest_batch_keeps_the_bound() -> None:
    sizes = (1, 2, 4)
    every = [server().serve(Layout(tp=2, microbatch=size)) for size in sizes]
    bound = every[1].tpot_ms[0]
    found = best(every, tpot_ms=bound)
    allowed = [served for served in every if served.tpot_ms[0] <= bound]
    assert found is not None and found == max(allowed, key=lambda served: served.tokens_per_s)
    assert best(every, tpot_ms=1e-9) is None
    assert [served.layout.microbatch for served in server().tried(Layout(tp=2), sizes)] == list(sizes)


def test_faster_links_slow_nothing() -> None:
    slow, fast = (server(assume=Assumptions(link_share=share)).serve(Layout(tp=4)) for share in (1.0, 2.0))
    assert fast.ttft_ms[0] <= slow.ttft_ms[0] and fast.tpot_ms[0] <= slow.tpot_ms[0]


@given(st.floats(0.1, 100), st.floats(0, 1e4), st.integers(1, 200))
def test_a_queue_is_between_its_limits(service: float, away: float, customers: int) -> None:
    """One customer waits for nobody; never away, each waits for all others."""
    waited = queued_ms(service, away, customers)
    assert service <= waited <= service * customers * (1 + 1e-12)
    assert queued_ms(service, away, 1) == service
    assert queued_ms(service, 0.0, customers) == pytest.approx(service * customers)


def test_one_request_alone_is_batched_with_nobody() -> None:
    for layout in (Layout(), Layout(tp=4)):
        alone, batch = server(continuous=True).serve(layout), server().serve(layout)
        assert (alone.ttft_ms, alone.tpot_ms) == (batch.ttft_ms, batch.tpot_ms)


@pytest.mark.parametrize("layout", [Layout(tp=2, microbatch=8), Layout(tp=2, pp=2, microbatch=4)])
def test_requests_in_flight_wait_for_each_others_prompts(layout: Layout) -> None:
    """Eight at once: a token costs a step and its share of seven prompts; the rate is theirs over their stay."""
    found = server(continuous=True).serve(layout)
    step = server().serve(layout).tpot_ms[0]
    prompt = server().serve(replace(layout, pp=1, tp=layout.tp * layout.pp, microbatch=1)).ttft_ms[0]
    assert found.sequences == 8
    assert step < found.tpot_ms[0] < step + 7 * 1.5 * prompt / OUTPUT
    if layout.pp == 1:
        assert (found.ttft_ms[0], found.tpot_ms[0]) == steady(step, prompt, 8, OUTPUT)
    stay = found.ttft_ms[0] + (OUTPUT - 1) * found.tpot_ms[0]
    assert found.tokens_per_s == pytest.approx(layout.dp * 8 * OUTPUT / stay * 1e3)
    assert found.tpot_ms[1] <= found.tpot_ms[0] <= found.tpot_ms[2]
    assert found.ttft_ms[0] < server().serve(layout).ttft_ms[0]  # which waits for all eight prompts


def test_one_prompt_at_a_time_leaves_more_room() -> None:
    assert server(continuous=True).most(Layout()) >= server().most(Layout())
    held = server(continuous=True).memory(Layout(microbatch=16))
    assert held.parts["kv_cache"] == 16 * (PROMPT + OUTPUT) * 2 * 32 * 4096 * 2


def test_the_best_keeps_both_bounds() -> None:
    tried = server(continuous=True).tried(Layout(tp=2), sizes=(1, 4, 16))
    assert best(tried) is tried[-1]
    assert best(tried, tpot_ms=tried[1].tpot_ms[0]) is tried[1]
    assert best(tried, ttft_ms=tried[0].ttft_ms[0], tpot_ms=1e9) is tried[0]
    assert best(tried, ttft_ms=1e-9) is None
