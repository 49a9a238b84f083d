"""Pipeline schedules: which stage runs what in which order, and when each of it starts, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.limits import check

FORWARD, BACKWARD = 0, 1
_CELLS = 1_000_000  # of the table of finishing times worked on at once
_WIDE = 4  # cases of one pipeline that are simulated beside each other


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
    rows = zip(*(part.tolist() for part in (order.stage, order.timed, order.way, order.place, order.needed)))
    for number, (stage, timed, way, place, needed) in enumerate(rows):
        start = max(free[stage], ends[needed] + travel[way])
        free[stage] = ends[number] = start + duration[timed]
        kind, place = divmod(place, microbatches * pieces)
        microbatch, piece = divmod(place, pieces)
        events.append(Event(stage, kind, microbatch, piece // stages, start, free[stage]))
    return events


class _Order(NamedTuple):
    """Passes of one step in levels of their dependencies: a stage runs one pass of a level, or none."""

    stage: Array  # of each pass, in an order of their levels
    timed: Array  # index into durations: all pieces forward, then all backward
    way: Array  # what it needs travels: 0 not at all, 1 forward, 2 back
    place: Array  # its place by kind, microbatch and piece
    needed: Array  # number of the pass it needs; the number of passes: none
    level: Array
    grid: Array  # [level, stage] number of the pass; the number of passes: none
    of_place: Array  # number of the pass by place


@lru_cache(maxsize=4096)
def _levels(schedule: str, stages: int, microbatches: int, chunks: int, training: bool) -> _Order:
    """The order of a schedule.

    Interleaved, chunk by chunk in groups of as many microbatches as there are stages (Narayanan et al. 2021,
    figure 4).
    """
    check("passes", microbatches * chunks * stages, "the pipeline")
    total, pieces = microbatches * chunks, chunks * stages
    group = stages if chunks > 1 else 1
    turn, stage = np.arange(total), np.arange(stages)[:, None]
    chunk, microbatch = turn // group % chunks, turn // (group * chunks) * group + turn % group
    # of each stage's passes in order: piece, place by kind, microbatch and piece, the place needed
    piece = chunk * stages + stage
    place = microbatch * pieces + piece
    runs = [piece, place, np.where(piece > 0, place - 1, -1)]
    if training:
        piece = (chunks - 1 - chunk) * stages + stage
        start = microbatch * pieces + piece
        place = total * stages + start
        back = [pieces + piece, place, np.where(piece < pieces - 1, place + 1, start)]
        ahead = np.asarray(warm_up(schedule, stage, stages, microbatches, chunks))
        order = np.empty((stages, 2 * total), dtype=int)
        np.put_along_axis(order, np.where(turn < ahead, turn, 2 * turn - ahead + 1), turn[None], 1)
        np.put_along_axis(
            order, np.where(turn < total - ahead, ahead + 2 * turn, total + turn), total + turn[None], 1
        )
        runs = [
            np.take_along_axis(np.concatenate(both, axis=1), order, 1) for both in zip(runs, back, strict=True)
        ]
    timed, place, needs = runs
    # A pass's level: one more than the later of the pass before it on its stage and the pass it needs.
    level: list[int | None] = [None] * place.size + [-1]  # the last: nothing is needed
    left = [list(zip(*both)) for both in zip(place[:, ::-1].tolist(), needs[:, ::-1].tolist(), strict=True)]
    free, waiting = [-1] * stages, -1
    while waiting != (waiting := sum(map(len, left))):
        for one in (*range(stages), *reversed(range(stages))):
            mine, now = left[one], free[one]
            while mine and (arrived := level[mine[-1][1]]) is not None:
                now = (arrived if arrived > now else now) + 1
                level[mine.pop()[0]] = now
            free[one] = now
    if waiting:
        raise RuntimeError(f"schedule {schedule} of {stages} stages and {microbatches} microbatches locks up")
    at_level = np.array(level[:-1])[place].ravel()
    by_level = np.argsort(at_level, kind="stable")
    stage = np.repeat(np.arange(stages), place.shape[1])
    at_level, stage, timed, place, needs = (
        part.ravel()[by_level] for part in (at_level, stage, timed, place, needs)
    )
    number = np.arange(len(place))
    of_place = np.full(len(place) + 1, len(place))  # the last: nothing is needed
    of_place[place] = number
    grid = np.full((at_level[-1] + 1, stages), len(place))
    grid[at_level, stage] = number
    way = np.where(needs < 0, 0, np.where(timed < pieces, 1, np.where(needs >= total * stages, 2, 0)))
    return _Order(stage, timed, way, place, of_place[needs], at_level, grid, of_place[:-1])


class Pipelines(NamedTuple):
    """Pipelines of as many stages and chunks, under one schedule."""

    schedule: str
    microbatches: Array  # [case]
    forward: Array  # milliseconds of one microbatch [case, chunk, stage]
    backward: Array | None  # likewise; None: only forward passes run
    send: Array  # [case, 2]: forward, back

    def at(self, cases: Array, microbatches: int) -> Pipelines:
        """Some of them, of so many microbatches."""
        forward, backward = (None if part is None else part[cases] for part in (self.forward, self.backward))
        assert forward is not None
        return Pipelines(self.schedule, np.full(len(cases), microbatches), forward, backward, self.send[cases])


def stage_ends(asked: Sequence[Pipelines], periodic: bool = True) -> list[Array]:
    """When each stage ends its last pass [case, stage], of many pipelines: as `simulate`, without its events.

    If `periodic`, a pipeline is simulated until all of it repeats itself a turn later (a microbatch; a round of
    stages where interleaved), from then on, exact to rounding. One that does not settle is simulated whole. What
    has to be simulated is simulated together.
    """
    found, left = [], []  # left: microbatches of what no closed form has; 0: done
    for one in asked:
        ends, done = _closed(one, periodic)
        found.append(ends)
        left.append(np.where(done, 0, one.microbatches))
    if not any(counts.any() for counts in left):
        return found
    for rounds in range(3 if periodic else 0):
        jobs = []
        for place, one in enumerate(asked):
            chunks, stages = one.forward.shape[1:]
            first = stages * ((4, 8, 32) if chunks == 1 else (6, 12, 32))[rounds]
            if len(cases := np.flatnonzero(left[place] > first)):
                jobs.append((place, cases, one.at(cases, first)))
        for (place, cases, one), (free, ends) in zip(jobs, _simulated([job for *_, job in jobs], passes=True)):
            later, turn = _later(one, ends)
            rate = later[:, -1].mean(axis=0)
            settled = np.abs(later - rate).max(axis=(0, 1)) <= 1e-13 * free.max(axis=1)
            more = (left[place][cases] - one.microbatches) / turn
            found[place][cases[settled]] = free[settled] + (more * rate)[settled, None]
            left[place][cases[settled]] = 0
    jobs = [
        (place, cases := np.flatnonzero(counts == count), asked[place].at(cases, int(count)))
        for place, counts in enumerate(left)
        for count in np.unique(counts[counts > 0])
    ]
    for (place, cases, _), (free, _) in zip(jobs, _simulated([job for *_, job in jobs])):
        found[place][cases] = free
    return found


def _closed(one: Pipelines, periodic: bool) -> tuple[Array, Array]:
    """Ends of stages where a closed form has them, and of which cases."""
    schedule, counts, forward, backward, send = one
    cases, chunks, stages = forward.shape
    done, ends = np.ones(cases, dtype=bool), np.empty((cases, stages))
    if stages == 1:
        once = forward.sum(axis=1) + (backward.sum(axis=1) if backward is not None else 0.0)
        return once * counts[:, None], done
    if chunks == 1 and (schedule == "gpipe" or backward is None):
        return _one_way(counts, forward[:, 0], None if backward is None else backward[:, 0], send), done
    done &= counts > stages if chunks == 1 and backward is not None and periodic and not send.any() else False
    if done.any():
        assert backward is not None
        ends[done] = _one_forward_one_backward(counts[done], forward[done, 0], backward[done, 0])
    return ends, done


def _later(one: Pipelines, ends: Array) -> tuple[Array, int]:
    """By how much passes end later than those a turn before, and microbatches of a turn.

    All that a pass beyond can depend on is among these, behind the warm-up and before the draining: interleaved, a
    backward pass comes up to a round and a half after the forward pass of its microbatch.
    """
    chunks, stages = one.forward.shape[1:]
    if chunks == 1:
        return _shifted(ends, stages, stages, 1), 1
    return np.concatenate(
        [_shifted(ends[:1], stages, stages, stages), _shifted(ends[1:], 0, stages, stages)]
    ), stages


def _shifted(ends: Array, first: int, count: int, turn: int) -> Array:
    """How much later than a turn before [kind, pass, case], of `count` microbatches from `first` on."""
    found = ends[:, first + turn : first + count + turn] - ends[:, first : first + count]
    return found.reshape(len(ends), count * ends.shape[2], ends.shape[3])


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


def _simulated(jobs: Sequence[Pipelines], passes: bool = False) -> list[tuple[Array, Array]]:
    """Ends of each stage [case, stage]; with `passes` of late passes too [kind, microbatch, piece, case].

    These are of four times as many microbatches as there are stages, without the last round. Each job's cases have
    as many microbatches. Jobs are worked on together.
    """
    parts: list[tuple[int, Pipelines, _Order, Array]] = []
    for number, one in enumerate(jobs):
        cases, chunks, stages = one.forward.shape
        order = _levels(one.schedule, stages, int(one.microbatches[0]), chunks, one.backward is not None)
        most = max(1, _CELLS // order.grid.size // _WIDE) * _WIDE
        parts += [(number, one, order, np.arange(at, min(at + most, cases))) for at in range(0, cases, most)]
    parts.sort(key=lambda part: -len(part[2].grid))  # stable: what a job was cut into stays in order
    found: list[list[tuple[Array, Array]]] = [[] for _ in jobs]
    while parts:
        held, many = 0, 0
        while many < len(parts) and (many == 0 or held + _cells(parts[many]) <= _CELLS):
            held, many = held + _cells(parts[many]), many + 1
        now, parts = parts[:many], parts[many:]
        ran = _run([(one.at(cases, int(one.microbatches[0])), order) for _, one, order, cases in now], passes)
        for (number, *_), ends in zip(now, ran, strict=True):
            found[number].append(ends)
    return [
        (np.concatenate([ends for ends, _ in one]), np.concatenate([late for _, late in one], axis=-1))
        for one in found
    ]


def _run(jobs: Sequence[tuple[Pipelines, _Order]], passes: bool) -> list[tuple[Array, Array]]:
    """The same of jobs that fit in memory, those of most levels first: of all, the passes of one level at once.

    A row is a stage of _WIDE cases, at one level; a stage that runs nothing there ends when it ended before.
    """
    blocks = [-(-len(one.forward) // _WIDE) for one, _ in jobs]
    columns = np.cumsum([0] + [many * order.grid.shape[1] for many, (_, order) in zip(blocks, jobs, strict=True)])
    depth, wide = len(jobs[0][1].grid), int(columns[-1])
    nothing = depth * wide  # the last row
    needed, timed = np.empty((depth, wide), dtype=int), np.empty((depth, wide), dtype=int)
    sends = any(one.send.any() for one, _ in jobs)
    way = np.empty((depth, wide), dtype=int) if sends else None
    times, travels, rows = [np.zeros((1, _WIDE))], [np.zeros((1, _WIDE))], []
    known = known_ways = 1
    for (one, order), many, column in zip(jobs, blocks, columns.tolist()):
        levels, stages = order.grid.shape
        row = np.append(order.level * wide + order.stage + column, nothing)
        kinds = [one.forward] if one.backward is None else [one.forward, one.backward]
        durations = _beside([part.reshape(len(part), -1) for part in kinds], many)
        after, spent = (
            np.append(order.needed, len(order.stage))[order.grid],
            np.append(order.timed, -1)[order.grid],
        )
        lone, idle = after == len(order.stage), spent < 0
        block, here = np.arange(many)[:, None], np.s_[:levels, column : column + many * stages]
        found_at = np.where(lone[:, None], nothing, row[after][:, None] + stages * block)
        spent_at = np.where(idle[:, None], 0, spent[:, None] + known + durations.shape[1] * block)
        needed[here], timed[here] = found_at.reshape(levels, -1), spent_at.reshape(levels, -1)
        if way is not None:
            ways = np.append(order.way, 0)[order.grid][:, None]
            way[here] = np.where(ways == 0, 0, ways - 1 + known_ways + 2 * block).reshape(levels, -1)
        times.append(durations.reshape(-1, _WIDE))
        travels.append(_beside([one.send], many).reshape(-1, _WIDE))
        known, known_ways = known + len(times[-1]), known_ways + len(travels[-1])
        rows.append(row[:-1])
    spent, travel = np.concatenate(times), np.concatenate(travels)
    ends, until = np.zeros((nothing + 1, _WIDE)), np.zeros(depth, dtype=int)
    for (_, order), column in zip(jobs, columns[1:].tolist(), strict=True):
        until[: len(order.grid)] = column
    free = ends[-1:]
    for level, count in enumerate(until.tolist()):
        arrived = ends.take(needed[level, :count], axis=0)
        if way is not None:
            arrived += travel.take(way[level, :count], axis=0)
        now = ends[level * wide : level * wide + count]
        np.maximum(free[:count] if level else free, arrived, out=now)
        now += spent.take(timed[level, :count], axis=0)
        free = now
    found = []
    for (one, order), many, row, column in zip(jobs, blocks, rows, columns.tolist()):
        cases, chunks, stages = one.forward.shape

        def told(rows: Array, many: int = many, stages: int = stages, cases: int = cases) -> Array:
            """Ends [case, row]."""
            each = ends[rows + stages * np.arange(many)[:, None]]
            return each.swapaxes(1, 2).reshape(many * _WIDE, len(rows))[:cases]

        last = (len(order.grid) - 1) * wide + column + np.arange(stages)
        late = np.empty((0, 0, 0, cases))
        if passes:
            places = order.of_place.reshape(-1, int(one.microbatches[0]), chunks * stages)[
                :, -4 * stages : -stages
            ]
            late = told(row[places.ravel()]).T.reshape(*places.shape, cases)
        found.append((told(last), late))
    return found


def _cells(part: tuple[int, Pipelines, _Order, Array]) -> int:
    return part[2].grid.size * (len(part[3]) + _WIDE - 1)


def _beside(times: list[Array], blocks: int) -> Array:
    """Times [case, piece] of blocks of cases: [block, piece, _WIDE]; a block that is not full is filled up."""
    whole = np.concatenate(times, axis=1)
    filled = np.concatenate([whole, np.zeros((blocks * _WIDE - len(whole), whole.shape[1]))])
    return filled.reshape(blocks, _WIDE, -1).swapaxes(1, 2)
