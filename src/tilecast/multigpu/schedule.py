"""Pipeline schedules: which stage runs what in which order, and when each of it starts, event by event."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.limits import check

FORWARD, BACKWARD = 0, 1
_CELLS = 4_000_000  # of the table of finishing times worked on at once


def warm_up(schedule: str, stage: Any, stages: int, microbatches: Any, chunks: int = 1) -> Any:
    """Forward passes a stage runs before its first backward pass (arXiv 2104.04473, section 2.2)."""
    whole = microbatches * chunks
    if schedule == "gpipe":
        return whole + 0 * stage
    ahead = 2 * (stages - stage - 1) + (chunks - 1) * stages + 1 if chunks > 1 else stages - stage
    return np.where((chunks > 1) & (microbatches == stages), whole, np.minimum(ahead, whole))


def in_flight(schedule: str, stages: int, microbatches: Any, chunks: int = 1) -> Array:
    """Microbatches, in units of a whole stage's layers, whose activations each stage holds: [stage, case]."""
    waiting = warm_up(schedule, np.arange(stages)[:, None], stages, np.atleast_1d(microbatches), chunks)
    return np.asarray(waiting / chunks)


class Event(NamedTuple):
    """One pass of one microbatch through one chunk of a stage."""

    stage: int
    kind: int
    microbatch: int
    chunk: int
    start_ms: float
    end_ms: float


def simulate(
    schedule: str, microbatches: int, forward: Array, backward: Array | None, send: tuple[float, float]
) -> list[Event]:
    """Every event of one step. `forward[chunk, stage]` and `backward` are milliseconds of one microbatch.

    A stage runs one thing at a time, in its order; a result reaches the next stage `send` milliseconds later (one
    figure forward, one back). Without `backward` only forward passes run.
    """
    chunks, stages = forward.shape
    pieces = chunks * stages
    order = _levels(schedule, stages, microbatches, chunks, backward is not None)
    duration = [*forward.ravel().tolist(), *([] if backward is None else backward.ravel().tolist())]
    travel, free, events = (0.0, *send), [0.0] * stages, []
    ends = [0.0] * (len(order.timed) + 1)
    rows = zip(order.stage, order.timed, order.way, order.place, order.needed)
    for number, (stage, timed, way, place, needed) in enumerate(rows):
        start = max(free[stage], ends[needed] + travel[way])
        free[stage] = ends[number] = start + duration[timed]
        kind, place = divmod(place, microbatches * pieces)
        microbatch, piece = divmod(place, pieces)
        events.append(Event(stage, kind, microbatch, piece // stages, start, free[stage]))
    return events


class _Order(NamedTuple):
    """Passes of one step in levels of their dependencies; a pass is named by its number in this order."""

    stage: list[int]
    timed: list[int]  # index into durations: all pieces forward, then all backward
    way: list[int]  # what it needs travels: 0 not at all, 1 forward, 2 back
    place: list[int]  # its place by kind, microbatch and piece
    needed: list[int]  # the pass it needs; -1 for none
    levels: list[tuple[int, int, Array, Array]]  # first, end, the stages' passes before, the passes needed
    last: list[int]  # the last pass of each stage


@lru_cache(maxsize=4096)
def _levels(schedule: str, stages: int, microbatches: int, chunks: int, training: bool) -> _Order:
    """The order of a schedule.

    Interleaved, chunk by chunk in groups of as many microbatches as there are stages (Narayanan et al. 2021,
    figure 4).
    """
    check("passes", microbatches * chunks * stages, "the pipeline")
    total, pieces = microbatches * chunks, chunks * stages
    group = stages if chunks > 1 else 1
    place = np.arange(total)
    chunk, microbatch = place // group % chunks, place // (group * chunks) * group + place % group
    runs = []
    for stage in range(stages):
        piece = chunk * stages + stage
        needed = np.where(piece > 0, microbatch * pieces + piece - 1, -1)
        forward = np.stack([np.full(total, stage), piece, (microbatch * pieces + piece) * 3 + (piece > 0), needed])
        if not training:
            runs.append(forward.T)
            continue
        piece = (chunks - 1 - chunk) * stages + stage
        end = total * stages + microbatch * pieces + piece
        needed = np.where(piece < pieces - 1, end + 1, microbatch * pieces + piece)
        backward = np.stack([np.full(total, stage), pieces + piece, end * 3 + 2 * (piece < pieces - 1), needed])
        ahead = warm_up(schedule, stage, stages, microbatches, chunks)
        run = np.empty((2 * total, 4), dtype=np.int64)
        run[np.where(place < ahead, place, 2 * place - ahead + 1)] = forward.T
        run[np.where(place < total - ahead, ahead + 2 * place, total + place)] = backward.T
        runs.append(run)
    # A pass's level: one more than the later of the pass before it on its stage and the pass it needs.
    level: list[int | None] = [None] * (2 * total * stages) + [-1]  # the last: nothing is needed
    left, free = [iter(zip(run[:, 2].tolist(), run[:, 3].tolist(), strict=True)) for run in runs], [-1] * stages
    coming: list[tuple[int, int] | None] = [next(run) for run in left]
    going = True
    while going:
        going = False
        for stage in range(stages):
            while (now := coming[stage]) is not None and (arrived := level[now[1]]) is not None:
                level[now[0] // 3] = free[stage] = max(free[stage], arrived) + 1
                coming[stage], going = next(left[stage], None), True
    if any(now is not None for now in coming):
        raise RuntimeError(f"schedule {schedule} of {stages} stages and {microbatches} microbatches locks up")
    rows = np.concatenate(runs)
    at_level = np.array(level)[rows[:, 2] // 3].astype(int)
    rows = rows[np.lexsort((rows[:, 0], at_level))]
    starts = [0, *np.cumsum(np.bincount(at_level)).tolist()]
    stage, timed, code, needs = rows.T
    place, number = code // 3, np.arange(len(code))
    of_place = np.full(2 * total * stages + 1, -1)
    of_place[place] = number
    needed, before = of_place[needs], np.full(len(code), -1)
    by_stage = np.argsort(stage, kind="stable")
    follows = stage[by_stage][1:] == stage[by_stage][:-1]
    before[by_stage[1:][follows]] = by_stage[:-1][follows]
    levels = [(at, until, before[at:until], needed[at:until]) for at, until in pairwise(starts)]
    stage, timed, way, place, needed = (part.tolist() for part in (stage, timed, code % 3, place, needed))
    return _Order(stage, timed, way, place, needed, levels, by_stage[np.append(~follows, True)].tolist())


def stage_ends(
    schedule: str,
    microbatches: int | Array,
    forward: Array,
    backward: Array | None,
    send: Array,
    periodic: bool = True,
) -> Array:
    """When each stage ends its last pass, of many pipelines at once: what `simulate` finds, without its events.

    `microbatches[case]` (or one number), `forward[case, chunk, stage]`, `backward` alike, `send[case, 2]`
    (forward, back); returns [case, stage]. If `periodic`, a pipeline is simulated until all of it repeats itself a
    turn later (a microbatch; a round of stages where interleaved), from then on, exact to rounding.
    One that does not settle is simulated whole.
    """
    cases, chunks, stages = forward.shape
    counts = np.broadcast_to(np.asarray(microbatches), cases)
    if stages == 1:
        once = forward.sum(axis=1) + (backward.sum(axis=1) if backward is not None else 0.0)
        return np.asarray(once * counts[:, None])
    if chunks == 1 and (schedule == "gpipe" or backward is None):
        return _one_way(counts, forward[:, 0], None if backward is None else backward[:, 0], send)
    found = np.empty((cases, stages))
    if chunks == 1 and backward is not None and periodic and not send.any():
        long = np.flatnonzero(counts > stages)
        found[long] = _one_forward_one_backward(counts[long], forward[long, 0], backward[long, 0])
        counts = np.where(counts > stages, 0, counts)
    turn = 1 if chunks == 1 else stages
    for first in (4 * stages, 32 * stages) if chunks == 1 else (8 * stages, 32 * stages):
        left = np.flatnonzero(counts > first) if periodic else np.array([], dtype=int)
        if len(left) == 0:
            break
        ends, free = _simulated(schedule, first, forward[left], _of(backward, left), send[left])
        # All that a pass can depend on is among these microbatches, behind the warm-up and before the draining.
        low, high = (stages, 2 * stages) if chunks == 1 else (2 * stages, 5 * stages)
        later = ends[:, low + turn : high + turn] - ends[:, low:high]
        rate = later[:, -1, -1].mean(axis=0)
        settled = np.abs(later - rate).max(axis=(0, 1, 2)) <= 1e-13 * free.max(axis=1)
        done = left[settled]
        found[done] = free[settled] + ((counts[done] - first) / turn * rate[settled])[:, None]
        counts = counts.copy()
        counts[done] = 0
    for count in np.unique(counts[counts > 0]):
        left = np.flatnonzero(counts == count)
        found[left] = _simulated(schedule, int(count), forward[left], _of(backward, left), send[left])[1]
    return found


def _of(times: Array | None, cases: Array) -> Array | None:
    return None if times is None else times[cases]


def _one_way(counts: Array, forward: Array, backward: Array | None, send: Array) -> Array:
    """Ends of a GPipe schedule in closed form: all forward, then all backward; the slowest stage sets the pace."""
    stages = forward.shape[1]
    more = (counts - 1)[:, None]
    there = np.cumsum(forward, axis=1) + np.arange(stages) * send[:, :1]
    ends = there + more * np.maximum.accumulate(forward, axis=1)
    if backward is None:
        return np.asarray(ends)
    back = backward[:, ::-1]
    passed = np.cumsum(back, axis=1) + np.arange(stages) * send[:, 1:]
    return np.asarray(ends[:, -1:] + (passed + more * np.maximum.accumulate(back, axis=1))[:, ::-1])


def _one_forward_one_backward(counts: Array, forward: Array, backward: Array) -> Array:
    """Ends of 1F1B in closed form, of more microbatches than stages and of sends that take no time.

    A stage's end is the longest chain of passes before it. A chain goes forward to a stage t, with the warm-up's
    passes on its way; turns round there; spends all rounds it has left at the slowest stage x it passes; and comes
    back from a stage u, with the passes that drain the pipeline on its way, to the stage that ends.
    """
    stages = np.arange(forward.shape[1])
    both, after = forward + backward, stages[::-1]  # stages that follow
    whole, back = np.cumsum(both, axis=1), np.cumsum(backward, axis=1)
    begun = whole + after * np.maximum.accumulate(forward, axis=1)  # by t
    turned = np.maximum.accumulate(begun[:, ::-1], axis=1)[:, ::-1] - (whole - both)  # by x, t not before it
    spent = turned + (counts[:, None] - 1 - after - 1) * both
    left = np.maximum.accumulate(spent, axis=1) + whole  # by u, x not behind it
    behind = stages[:, None] <= stages  # [stage that ends, u]
    drained = np.maximum.accumulate(np.where(behind, backward[:, None], 0.0), axis=2) * after
    ends = np.where(behind, left[:, None] + drained, 0.0).max(axis=2)
    return np.asarray(ends - (back - backward))


def _simulated(
    schedule: str, microbatches: int, forward: Array, backward: Array | None, send: Array
) -> tuple[Array, Array]:
    """Ends [kind, microbatch, piece, case] of every pass, and of each stage [case, stage], level by level."""
    cases, chunks, stages = forward.shape
    order = _levels(schedule, stages, microbatches, chunks, backward is not None)
    most = max(1, _CELLS // len(order.timed))
    if cases > most:
        cuts = [np.arange(at, min(at + most, cases)) for at in range(0, cases, most)]
        parts = [_simulated(schedule, microbatches, forward[c], _of(backward, c), send[c]) for c in cuts]
        return np.concatenate([part[0] for part in parts], axis=-1), np.concatenate([part[1] for part in parts])
    kinds = [forward] if backward is None else [forward, backward]
    spent = np.concatenate([part.reshape(cases, -1) for part in kinds], axis=1).T[order.timed]
    travel = (
        np.concatenate([np.zeros((1, cases)), np.asarray(send, dtype=float).T])[order.way] if send.any() else None
    )
    ends = np.zeros((len(order.timed) + 1, cases))  # the last row: nothing is needed
    for at, until, before, needed in order.levels:
        arrived, now = ends[needed], ends[at:until]
        if travel is not None:
            arrived += travel[at:until]
        np.maximum(ends[before], arrived, out=now)
        now += spent[at:until]
    passes = np.zeros((2 * microbatches * chunks * stages, cases))
    passes[order.place] = ends[:-1]
    return passes.reshape(2, microbatches, chunks * stages, cases), ends[order.last].T
