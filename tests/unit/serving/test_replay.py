"""Replayed serving benchmarks: limits that are exact, and what groups of equal requests do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.serving.replay import REPLAYED, Batching, Load, recipe, replay

PROMPT_MS, STEP_MS = 50.0, 10.0


def step_ms(requests):
    return STEP_MS


def mixed_ms(tokens, requests):
    return PROMPT_MS * tokens / 1000


def test_a_request_alone_waits_for_its_prefill_and_decodes():
    told = replay(Load(1, 1000, 11), Batching(4000), step_ms, mixed_ms)
    assert told.ttft_ms == pytest.approx(PROMPT_MS)
    assert told.tpot_ms == pytest.approx(STEP_MS)


def test_all_at_once_wait_for_half_of_all_prefills():
    one = replay(Load(8, 1000, 100, rounds=1), Batching(1000, alone=True), step_ms, mixed_ms)
    assert one.ttft_ms == pytest.approx(4.5 * PROMPT_MS)
    # Each decodes while the later ones are prefilled, or waits for them: 3.5 prompts an output either way.
    assert one.tpot_ms == pytest.approx(STEP_MS + 3.5 * PROMPT_MS / 99)


def test_served_alone_equal_requests_come_in_bursts_for_ever_and_mixed_they_do_not():
    load = Load(8, 1000, 100)
    alone = replay(load, Batching(1000, alone=True), step_ms, mixed_ms)
    mixed = replay(load, Batching(1008), step_ms, mixed_ms)
    assert alone.ttft_ms == pytest.approx(4.5 * PROMPT_MS + 0.9 * STEP_MS, rel=0.05)
    # In steady state a prompt finds the pass of the one before it, whatever the concurrency.
    assert mixed.ttft_ms == pytest.approx(0.1 * 4.5 * PROMPT_MS + 0.9 * 2 * PROMPT_MS, rel=0.1)


def test_a_chunked_prompt_takes_as_many_passes_as_it_fills():
    whole = replay(Load(1, 4000, 2), Batching(1000), step_ms, mixed_ms)
    parts = replay(Load(1, 4000, 2), Batching(1000, chunked=True), step_ms, lambda tokens, n: PROMPT_MS)
    assert whole.ttft_ms == pytest.approx(4 * PROMPT_MS) == parts.ttft_ms


def test_prompts_held_back_wait_for_so_many_passes_and_no_more():
    load = Load(4, 1000, 200, shortest=0.5)
    free = replay(load, Batching(16000, late=3), step_ms, mixed_ms)
    held = replay(load, Batching(16000, late=3, wait_passes=20, wait_share=0.9), step_ms, mixed_ms)
    assert free.ttft_ms < held.ttft_ms <= free.ttft_ms + 21 * STEP_MS


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 3000), st.integers(2, 200), st.booleans(), st.booleans(), st.floats(0.5, 1)
)
def test_every_request_is_answered_in_no_less_than_its_own_work(
    requests, prompt, output, chunked, alone, shortest
):
    load = Load(requests, prompt, output, shortest)
    told = replay(load, Batching(2048, chunked, alone), step_ms, mixed_ms)
    assert told == replay(load, Batching(2048, chunked, alone), step_ms, mixed_ms)
    assert told.ttft_ms >= 0.99 * PROMPT_MS * shortest * (prompt - 1) / 1000
    assert told.tpot_ms > 0
    assert told.ttft_ms <= REPLAYED * requests * (PROMPT_MS * (prompt + 1) / 1000 + STEP_MS * output)


def test_recipes_follow_the_campaign():
    point = {"sweep": True, "framework": "trtllm", "model": "m", "device": "NVIDIA_B200", "tp": 4}
    point |= {"prompt": 1024, "output": 1024, "concurrency": 16.0}
    load, server = recipe(point)
    assert (load.shortest, server.wait_passes) == (0.8, 20)
    assert recipe(point | {"output": 8192})[1].wait_passes == 0
    load, server = recipe(point | {"sweep": False, "framework": "vllm"})
    assert (load.shortest, server.chunked) == (1.0, True)
    assert recipe(point | {"framework": "sglang"})[1].alone
