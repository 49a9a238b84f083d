"""Requests replayed against servers: limits that are exact, room for caches, and what groups of requests do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.serving.campaigns import recipe
from tilecast.serving.load import ROUNDS, Lengths, Load, Requests
from tilecast.serving.replay import Batching, PassTimes, Server, Times, replay

PROMPT_MS, STEP_MS = 50.0, 10.0


def mixed_ms(tokens: float, requests: int) -> float:
    return PROMPT_MS * tokens / 1000


TIMES = PassTimes(lambda requests: STEP_MS, mixed_ms)


def closed(concurrency: int, prompt: float, output: float, shortest: float = 1.0, rounds: int = 10) -> Load:
    return Load(Lengths(prompt, shortest), Lengths(output, shortest), concurrency, rounds=rounds)


def run(load: Load, batching: Batching, times: PassTimes = TIMES, **room: float) -> tuple[Requests, Times]:
    requests = load.requests()
    cache = requests.length.tolist() if room else None
    server = Server(batching, times, requests.prompt.tolist(), (requests.output - 1).tolist(), cache, **room)
    return requests, replay(requests, [server], load.concurrency)


def means(load: Load, batching: Batching, times: PassTimes = TIMES, **room: float) -> tuple[float, float]:
    """Mean times to first token and per output token, as a run of all rounds has them."""
    requests, told = run(load, batching, times, **room)
    burst, total = load.concurrency, len(told.sent)
    share = 1 / load.rounds if total > burst else 1.0
    ttft, tpot = told.first - told.sent, (told.last - told.first) / (requests.output - 1)
    first, later = (
        [values[:burst].mean() for values in (ttft, tpot)],
        [values[burst:].mean() if total > burst else 0.0 for values in (ttft, tpot)],
    )
    both = [share * one + (1 - share) * two for one, two in zip(first, later, strict=True)]
    return float(both[0]), float(both[1])


def test_a_request_alone_waits_for_its_prefill_and_decodes() -> None:
    assert means(closed(1, 1000, 11), Batching(4000)) == pytest.approx((PROMPT_MS, STEP_MS))


def test_all_at_once_wait_for_half_of_all_prefills() -> None:
    ttft, tpot = means(closed(8, 1000, 100, rounds=1), Batching(1000, alone=True))
    assert ttft == pytest.approx(4.5 * PROMPT_MS)
    # Each decodes while the later ones are prefilled, or waits for them: 3.5 prompts an output either way.
    assert tpot == pytest.approx(STEP_MS + 3.5 * PROMPT_MS / 99)


def test_served_alone_equal_requests_come_in_bursts_for_ever_and_mixed_they_do_not() -> None:
    load = closed(8, 1000, 100)
    alone, _ = means(load, Batching(1000, alone=True))
    mixed, _ = means(load, Batching(1008))
    assert alone == pytest.approx(4.5 * PROMPT_MS + 0.9 * STEP_MS, rel=0.05)
    # In steady state a prompt finds the pass of the one before it, whatever the concurrency.
    assert mixed == pytest.approx(0.1 * 4.5 * PROMPT_MS + 0.9 * 2 * PROMPT_MS, rel=0.1)


def test_a_chunked_prompt_takes_as_many_passes_as_it_fills() -> None:
    whole, _ = means(closed(1, 4000, 2), Batching(1000))
    times = PassTimes(lambda requests: STEP_MS, lambda tokens, requests: PROMPT_MS)
    parts, _ = means(closed(1, 4000, 2), Batching(1000, chunked=True), times)
    assert whole == pytest.approx(4 * PROMPT_MS) == parts


def test_prompts_held_back_wait_for_so_many_passes_and_no_more() -> None:
    load = closed(4, 1000, 200, shortest=0.5)
    free, _ = means(load, Batching(16000, late=3))
    held, _ = means(load, Batching(16000, late=3, wait_passes=20, wait_share=0.9))
    assert free < held <= free + 21 * STEP_MS


def test_a_server_without_room_works_on_as_many_requests_as_fit() -> None:
    load = closed(8, 1000, 101, rounds=1)
    told = run(load, Batching(8000), token=1.0, room=2 * 1100.0)[1]
    for at in told.last:  # never more than two between their first and their last token
        assert ((told.first < at) & (told.last >= at)).sum() <= 2
    assert run(load, Batching(8000, sequences=2))[1].last == pytest.approx(told.last)
    assert told.last.max() == pytest.approx(4 * (2 * PROMPT_MS + 100 * STEP_MS))


def test_a_server_without_room_decodes_until_one_ends_in_one_step_of_the_replay() -> None:
    steps: list[int] = []

    def step_ms(requests: int) -> float:
        steps.append(requests)
        return STEP_MS

    run(closed(2, 1000, 501, rounds=1), Batching(8000), PassTimes(step_ms, mixed_ms), token=1.0, room=1501.0)
    assert steps == [1, 1]


def test_where_answers_are_not_reserved_the_youngest_is_put_off_and_computed_again() -> None:
    load, room = closed(2, 1000, 501, rounds=1), 2600.0
    kept = run(load, Batching(8000), token=1.0, room=room)[1]
    grown = run(load, Batching(8000, reserves=False), token=1.0, room=room)[1]
    assert kept.first[1] == pytest.approx(kept.last[0] + PROMPT_MS)  # there is room for one answer at a time
    assert grown.first[1] == grown.first[0]  # both prompts fit
    # After 300 tokens each the room is full: the second starts over as a prompt of 1,301 tokens or so.
    alone = grown.last[1] - grown.last[0]
    assert alone == pytest.approx(1.301 * PROMPT_MS + 199 * STEP_MS, abs=2 * STEP_MS)


@pytest.mark.parametrize("rate", [0.2, 2.0])
def test_an_open_loop_below_capacity_answers_all_that_comes(rate: float) -> None:
    load = Load(Lengths(1000), Lengths(11), rate_per_s=rate)
    requests, told = run(load, Batching(4000))
    assert requests.arrival_ms is not None and (told.sent == requests.arrival_ms).all()
    assert (told.first - told.sent).min() >= PROMPT_MS - 1e-6
    assert 1e3 * len(told.sent) / np.ptp(told.last) == pytest.approx(rate, rel=0.1)
    # One alone needs 150 ms: seldom is another there.
    assert np.median(told.last - told.sent) == pytest.approx(PROMPT_MS + 10 * STEP_MS, rel=0.05)


def test_servers_that_decode_apart_never_wait_for_prompts() -> None:
    load = Load(Lengths(1000), Lengths(51), rate_per_s=3)
    requests = load.requests()
    passes = (requests.output - 1).tolist()
    prefill = [Server(Batching(4000), TIMES, requests.prompt.tolist(), [0] * len(passes)) for _ in range(2)]
    decode = [Server(Batching(4000), TIMES, [0.0] * len(passes), passes)]
    told = replay(requests, prefill, 0, decode, [7.0] * len(passes))
    spent = (told.last - told.first - 7.0) / 50
    assert (spent >= STEP_MS - 1e-9).all() and spent.max() <= STEP_MS * 51 / 50 + 1e-9  # at most a pass that runs
    mixed = run(load, Batching(4000))[1]
    assert (mixed.last - mixed.first).mean() > (told.last - told.first).mean()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 3000), st.integers(2, 200), st.booleans(), st.booleans(),
    st.booleans(), st.floats(0.5, 1), st.floats(1, 4),
)  # fmt: skip
def test_every_request_is_answered_in_no_less_than_its_own_work(
    requests: int,
    prompt: int,
    output: int,
    chunked: bool,
    alone: bool,
    reserves: bool,
    shortest: float,
    room: float,
) -> None:
    load, batching = closed(requests, prompt, output, shortest), Batching(2048, chunked, alone, reserves=reserves)
    asked, told = run(load, batching, token=1.0, room=room * (prompt + output))
    again = run(load, batching, token=1.0, room=room * (prompt + output))[1]
    assert all((one == two).all() for one, two in zip(told, again, strict=True))
    assert (told.first - told.sent >= PROMPT_MS * asked.prompt / 1000 - 1e-6).all()
    assert (told.last - told.first > 0).all()
    work = PROMPT_MS * (asked.prompt + asked.output) / 1000 + STEP_MS * (asked.output + 5)
    assert told.last.max() <= ROUNDS * requests * work.max() * (1 if reserves else 4)


def test_lengths_are_numbers_ranges_or_distributions() -> None:
    uniform = np.random.default_rng(1).uniform(0, 1, 20_000)
    for text, mean in (("700", 700), ("400-1000", 700), ("lognormal:600:0.5", 600 * np.exp(0.125))):
        lengths = Lengths.parse(text, "--input")
        assert lengths.mean == pytest.approx(mean)
        assert lengths.draw(uniform, 1).mean() == pytest.approx(mean, rel=0.02)
    for text in ("0-5", "5-4", "5-999999999999", "lognormal:0:1"):
        with pytest.raises(InputError, match="--input"):
            Lengths.parse(text, "--input")


def test_recipes_follow_the_campaign() -> None:
    point = {"sweep": True, "framework": "trtllm", "model": "m", "device": "NVIDIA_B200", "tp": 4}
    point |= {"prompt": 1024, "output": 1024, "concurrency": 16.0}
    load, server = recipe(point)
    assert (load.prompt.shortest, server.wait_passes, server.reserves) == (0.8, 20, True)
    assert recipe(point | {"output": 8192})[1].wait_passes == 0
    load, server = recipe(point | {"sweep": False, "framework": "vllm"})
    assert (load.prompt.shortest, server.chunked, server.reserves) == (1.0, True, False)
    assert recipe(point | {"framework": "sglang"})[1].alone
