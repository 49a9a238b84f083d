"""Pipeline schedules: events against closed forms, many at once against one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.multigpu.schedule import (
    BACKWARD,
    FORWARD,
    Event,
    Pipelines,
    in_flight,
    simulate,
    stage_ends,
    warm_up,
)

SCHEDULES = st.sampled_from(["gpipe", "1f1b", "interleaved"])


def ends(events: list[Event], stages: int) -> np.ndarray:
    found = np.zeros(stages)
    for event in events:
        found[event.stage] = max(found[event.stage], event.end_ms)
    return found


@st.composite
def pipelines(draw, even: bool = False):
    schedule = draw(SCHEDULES)
    stages = draw(st.integers(2, 5))
    chunks = draw(st.integers(2, 3)) if schedule == "interleaved" else 1
    microbatches = draw(st.integers(1, 5)) * (stages if chunks > 1 else draw(st.integers(1, 3)))
    times = st.floats(0.1, 3.0)
    size = chunks * stages
    if even:
        forward, backward = np.full(size, draw(times)), np.full(size, draw(times))
    else:
        forward, backward = (np.array(draw(st.lists(times, min_size=size, max_size=size))) for _ in range(2))
    shape = (chunks, stages)
    return schedule, microbatches, forward.reshape(shape), backward.reshape(shape), draw(st.floats(0, 1))


@settings(max_examples=60, deadline=None)
@given(pipelines(even=True))
def test_equal_stages_idle_as_the_closed_form_says(pipeline):
    """The bubble is (p-1)/m of the work, (p-1)/(v m) when interleaved (Narayanan et al. 2021, section 2.2)."""
    schedule, microbatches, forward, backward, _ = pipeline
    chunks, stages = forward.shape
    found = ends(simulate(schedule, microbatches, forward, backward, (0.0, 0.0)), stages).max()
    work = microbatches * (forward + backward)[:, 0].sum()
    assert found == pytest.approx(work * (1 + (stages - 1) / (chunks * microbatches)), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(pipelines(), st.booleans())
def test_many_at_once_is_one_by_one(pipeline, training):
    schedule, microbatches, forward, backward, send = pipeline
    stages = forward.shape[1]
    hops = (send, send / 2 if training else 0.0)
    one = ends(simulate(schedule, microbatches, forward, backward if training else None, hops), stages)
    scale = np.array([1.0, 2.0])[:, None, None]
    back = backward * scale if training else None
    two = Pipelines(schedule, np.full(2, microbatches), forward * scale, back, np.outer([1.0, 2.0], hops))
    few = Pipelines("1f1b", np.array([3]), np.ones((1, 1, 2)), np.ones((1, 1, 2)), np.zeros((1, 2)))
    many, beside = stage_ends([two, few], periodic=False)  # another pipeline beside them changes nothing
    assert beside.tolist() == [[8.0, 7.0]]
    assert many[0] == pytest.approx(one, rel=1e-12)
    assert many[1] == pytest.approx(2 * one, rel=1e-12)


@pytest.mark.parametrize(("schedule", "chunks"), [("gpipe", 1), ("1f1b", 1), ("interleaved", 2)])
def test_what_is_extrapolated_is_what_is_simulated(schedule, chunks):
    """Equal layers, a heavier first and last stage, links that take time: the pipelines that occur."""
    stages, microbatches = 4, 160
    forward = np.full((chunks, stages), 1.0)
    forward[0, 0] += 0.2
    forward[-1, -1] += 0.7
    for send in (0.0, 0.05, 0.4):
        hops = np.array([[send, send]])
        asked = [Pipelines(schedule, np.array([microbatches]), forward[None], 2 * forward[None], hops)]
        (fast,), (slow,) = (stage_ends(asked, periodic) for periodic in (True, False))
        assert fast == pytest.approx(slow, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(pipelines(), st.integers(1, 40))
def test_what_repeats_itself_is_not_simulated_and_comes_out_the_same(pipeline, more):
    """Any stages, many microbatches, several counts at once: the events' own ends, to rounding."""
    schedule, microbatches, forward, backward, send = pipeline
    chunks, stages = forward.shape
    turn = stages if chunks > 1 else 1
    counts = [microbatches, microbatches + more * turn, 12 * stages]
    three = (np.stack([times] * 3) for times in (forward, backward))
    (found,) = stage_ends([Pipelines(schedule, np.array(counts), *three, np.full((3, 2), send))])
    for count, row in zip(counts, found, strict=True):
        assert row == pytest.approx(
            ends(simulate(schedule, count, forward, backward, (send, send)), stages), rel=1e-12
        )


@settings(max_examples=40, deadline=None)
@given(pipelines())
def test_a_stage_runs_one_thing_at_a_time_and_everything_once(pipeline):
    schedule, microbatches, forward, backward, send = pipeline
    chunks, stages = forward.shape
    events = simulate(schedule, microbatches, forward, backward, (send, send))
    assert len({event[:4] for event in events}) == len(events) == 2 * microbatches * chunks * stages
    when = {(e.kind, e.microbatch, e.chunk * stages + e.stage): e for e in events}
    free = dict.fromkeys(range(stages), 0.0)
    for event in sorted(events, key=lambda event: event.start_ms):
        piece = event.chunk * stages + event.stage
        before = when.get((event.kind, event.microbatch, piece - 1 if event.kind == FORWARD else piece + 1))
        arrives = before.end_ms + send if before else 0.0
        if event.kind == BACKWARD and before is None:
            arrives = when[FORWARD, event.microbatch, piece].end_ms
        assert event.start_ms == max(free[event.stage], arrives)  # at once, and no sooner
        spent = (backward if event.kind == BACKWARD else forward)[event.chunk, event.stage]
        assert event.end_ms == event.start_ms + spent
        free[event.stage] = event.end_ms


@settings(max_examples=40, deadline=None)
@given(pipelines(even=True), st.integers(1, 4))
def test_more_microbatches_never_raise_the_bubble_share_where_links_take_no_time(pipeline, more):
    """With time on links 1F1B can idle more: four stages of 1 ms that send for 1 ms wait for every round trip."""
    schedule, microbatches, forward, backward, _ = pipeline
    chunks, stages = forward.shape
    step = stages if chunks > 1 else 1

    def bubble(count: int) -> float:
        total = ends(simulate(schedule, count, forward, backward, (0.0, 0.0)), stages).max()
        return 1 - count * float((forward + backward)[:, 0].sum()) / total

    assert bubble(microbatches + more * step) <= bubble(microbatches) + 1e-9


def test_activations_held_are_those_of_the_order():
    """1F1B holds as many microbatches as stages follow, GPipe all; interleaving holds (p-1)/(p v) more."""
    assert in_flight("1f1b", 4, 8)[:, 0].tolist() == [4, 3, 2, 1]
    assert in_flight("1f1b", 4, 2)[:, 0].tolist() == [2, 2, 2, 1]
    assert in_flight("gpipe", 4, 8)[:, 0].tolist() == [8, 8, 8, 8]
    assert in_flight("interleaved", 4, 8, 2)[0, 0] == pytest.approx(4 * (1 + 3 / 8))
    for schedule, chunks in (("gpipe", 1), ("1f1b", 1), ("interleaved", 2)):
        one = np.ones((chunks, 4))
        events = simulate(schedule, 8, one, one, (0.0, 0.0))
        for stage in range(4):
            mine = sorted((event.start_ms, event.kind) for event in events if event.stage == stage)
            held = np.cumsum([1 if kind == FORWARD else -1 for _, kind in mine])
            assert held.max() == warm_up(schedule, stage, 4, 8, chunks)


def test_kernels_without_duration_do_not_lock_up():
    nothing = np.zeros((1, 3))
    assert len(simulate("1f1b", 4, nothing, nothing, (0.0, 0.0))) == 24
