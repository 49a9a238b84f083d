"""Pipeline schedules: which stage runs what in which order, and when each of it starts, event by event."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tilecast.limits import check

Array = np.ndarray[Any, np.dtype[Any]]
FORWARD, BACKWARD = 0, 1
NAN = float("nan")
_CELLS = 4_000_000  # of the table of finishing times worked on at once


@lru_cache(maxsize=4096)
def orders(
    schedule: str, stages: int, microbatches: int, chunks: int = 1, training: bool = True
) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """For each stage, what it runs in order: (FORWARD or BACKWARD, microbatch, chunk of its layers)."""
    return tuple(tuple(_order(schedule, stage, stages, microbatches, chunks, training)) for stage in range(stages))


def warm_up(schedule: str, stage: int, stages: int, microbatches: int, chunks: int = 1) -> int:
    """Forward passes a stage runs before its first backward pass."""
    if schedule == "gpipe":
        return microbatches
    if chunks == 1:
        return min(stages - stage, microbatches)
    if microbatches == stages:
        return microbatches * chunks
    return min(2 * (stages - stage - 1) + (chunks - 1) * stages + 1, microbatches * chunks)


def in_flight(schedule: str, stages: int, microbatches: int, chunks: int = 1) -> list[float]:
    """Microbatches, in units of a whole stage's layers, whose activations each stage holds at most."""
    return [warm_up(schedule, stage, stages, microbatches, chunks) / chunks for stage in range(stages)]


def _order(
    schedule: str, stage: int, stages: int, microbatches: int, chunks: int, training: bool
) -> list[tuple[int, int, int]]:
    total = microbatches * chunks
    # chunk by chunk in groups of as many microbatches as there are stages (Narayanan et al. 2021, figure 4)
    group = stages if chunks > 1 else 1

    def turn(place: int, backward: bool) -> tuple[int, int, int]:
        chunk = place // group % chunks
        microbatch = place // (group * chunks) * group + place % group
        return (BACKWARD, microbatch, chunks - 1 - chunk) if backward else (FORWARD, microbatch, chunk)

    if not training:
        return [turn(place, False) for place in range(total)]
    ahead = warm_up(schedule, stage, stages, microbatches, chunks)
    ops = [turn(place, False) for place in range(ahead)]
    for place in range(total):
        ops.append(turn(place, True))
        if ahead + place < total:
            ops.append(turn(ahead + place, False))
    return ops


class Event(NamedTuple):
    """One pass of one microbatch through one chunk of a stage."""

    stage: int
    kind: int
    microbatch: int
    chunk: int
    start_ms: float
    end_ms: float


def simulate(
    schedule: str, microbatches: int, forward: Array, backward: Array | None, send: float | tuple[float, float]
) -> list[Event]:
    """Every event of one step. `forward[chunk, stage]` and `backward` are milliseconds of one microbatch.

    A stage runs one thing at a time, in its order; a result reaches the next stage `send` milliseconds later (one
    figure, or one forward and one back). Without `backward` only forward passes run.
    """
    chunks, stages = forward.shape
    check("passes", microbatches * chunks * stages, "the pipeline")
    there, back = (send if isinstance(send, tuple) else (send, send)) if stages > 1 else (0.0, 0.0)
    lists = orders(schedule, stages, microbatches, chunks, backward is not None)
    last = chunks * stages - 1
    times = [forward.tolist(), backward.tolist() if backward is not None else []]
    # when each (kind, piece of the model, microbatch) has ended; not a number before that
    ends = [[[NAN] * microbatches for _ in range(last + 1)] for _ in times]
    events: list[Event] = []
    place, free = [0] * stages, [0.0] * stages
    ready = list(range(stages))
    while ready:
        stage = ready.pop()
        order, at, now = lists[stage], place[stage], free[stage]
        while at < len(order):
            kind, microbatch, chunk = order[at]
            piece = chunk * stages + stage
            if kind == FORWARD:
                needed = ends[FORWARD][piece - 1][microbatch] + there if piece else 0.0
            elif piece == last:
                needed = ends[FORWARD][last][microbatch]
            else:
                needed = ends[BACKWARD][piece + 1][microbatch] + back
            if needed != needed:
                break
            start = max(now, needed)
            now = start + times[kind][chunk][stage]
            ends[kind][piece][microbatch] = now
            events.append(Event(stage, kind, microbatch, chunk, start, now))
            at += 1
        if at > place[stage]:
            place[stage], free[stage] = at, now
            ready += {(stage + 1) % stages, (stage - 1) % stages} - {stage}
    if any(place[stage] < len(lists[stage]) for stage in range(stages)):
        raise RuntimeError(f"schedule {schedule} of {stages} stages and {microbatches} microbatches locks up")
    return events


def _needs(kind: int, microbatch: int, piece: int, pieces: int) -> tuple[int, int, int] | None:
    """What must have ended before: (kind, microbatch, piece)."""
    if kind == FORWARD:
        return (FORWARD, microbatch, piece - 1) if piece else None
    return (FORWARD, microbatch, piece) if piece == pieces - 1 else (BACKWARD, microbatch, piece + 1)


@lru_cache(maxsize=4096)
def _levels(schedule: str, stages: int, microbatches: int, chunks: int, training: bool) -> tuple[Array, Array]:
    """Operations in levels of their dependencies: rows (level, stage, time index, end index, needed end index)."""
    unit = np.ones((chunks, stages))
    events = simulate(schedule, microbatches, unit, unit if training else None, 0.0)
    pieces = chunks * stages
    ops = np.zeros((len(events), 4), dtype=np.int64)
    level = np.zeros(len(events), dtype=np.int64)
    for row, event in enumerate(events):
        piece = event.chunk * stages + event.stage
        needs = _needs(event.kind, event.microbatch, piece, pieces)

        def index(kind: int, microbatch: int, piece: int) -> int:
            return (kind * microbatches + microbatch) * pieces + piece

        end = index(event.kind, event.microbatch, piece)
        needed = index(*needs) if needs is not None else -1
        travels = 0 if needs is None or needs[2] == piece or stages == 1 else 1 + event.kind
        level[row] = round(event.start_ms)
        ops[row] = (event.stage, event.kind * pieces + piece, end * 3 + travels, needed)
    by_level = np.argsort(level, kind="stable")
    return ops[by_level], np.searchsorted(level[by_level], np.arange(level.max() + 2))


def stage_ends(
    schedule: str, microbatches: int, forward: Array, backward: Array | None, send: Array, periodic: bool = True
) -> Array:
    """When each stage ends its last pass, of many pipelines at once: what `simulate` finds, without its events.

    `forward[case, chunk, stage]`, `backward` alike, `send[case, 2]` (forward, back); returns [case, stage].
    Beyond ten microbatches a stage a pipeline of near-equal stages is periodic: if `periodic`, what is left is
    extrapolated by whole rounds of stages.
    """
    cases, chunks, stages = forward.shape
    if periodic and microbatches > 10 * stages + 10 and stages > 1:
        rounds = (microbatches - 8 * stages) // stages
        short = microbatches - rounds * stages
        end = stage_ends(schedule, short, forward, backward, send)
        before = stage_ends(schedule, short - stages, forward, backward, send)
        return np.asarray(end + rounds * (end - before))
    if stages == 1:
        once = forward.sum(axis=1) + (backward.sum(axis=1) if backward is not None else 0.0)
        return np.asarray(once * microbatches)
    ops, starts = _levels(schedule, stages, microbatches, chunks, backward is not None)
    most = max(1, _CELLS // len(ops))
    if cases > most:
        cuts = [slice(at, at + most) for at in range(0, cases, most)]
        return np.concatenate(
            [
                stage_ends(
                    schedule,
                    microbatches,
                    forward[cut],
                    backward[cut] if backward is not None else None,
                    send[cut],
                    periodic,
                )
                for cut in cuts
            ]
        )
    times = [forward.reshape(cases, -1), backward.reshape(cases, -1)] if backward is not None else [forward]
    duration = np.concatenate([part.reshape(cases, -1) for part in times], axis=1).T
    travel = np.concatenate([np.zeros((1, cases)), np.asarray(send, dtype=float).T])
    ends = np.zeros((2 * microbatches * chunks * stages + 1, cases))  # the last row: nothing is needed
    free = np.zeros((stages, cases))
    for at, until in pairwise(starts):
        stage, kind, code, needed = ops[at:until].T
        end, travels = code // 3, code % 3
        done = np.maximum(free[stage], ends[needed] + travel[travels]) + duration[kind]
        free[stage] = ends[end] = done
    return free.T
