"""Search for the best layout: all layouts of a space are evaluated; those that cannot run keep the reason.

Infeasible is what does not divide, does not fit in memory, or breaks a constraint. The rest is ranked by the
objective. Nothing is pruned by a bound, so the best found is the best of the space. What fits as a pipeline of
even stages is tried once more with its layers spread by the time they take, where the slowest stage gains by it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import groupby, islice, product
from typing import Any, NamedTuple

from tilecast.base.errors import InputError
from tilecast.base.limits import MOST, check
from tilecast.models.architecture import Architecture
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import RECOMPUTE, SCHEDULES, Layout, in_runs

# Figures of a candidate that can be bounded: the last from below, the others from above.
CONSTRAINTS = ("memory_gb", "step_ms", "ttft_ms", "tpot_ms", "usd_per_hour", "tokens_per_s")
MICROBATCH = 16  # sequences: the largest tried in training
RANK_TOKENS = 2048  # of a sequence: the fewest that context parallelism leaves a rank in training


@dataclass(frozen=True)
class Space:
    """The values tried for each part of a layout; where none are named, every divisor that can be."""

    tp: tuple[int, ...] = ()
    pp: tuple[int, ...] = ()
    cp: tuple[int, ...] = (1,)
    ep: tuple[int, ...] = ()
    microbatch: tuple[int, ...] = ()
    interleave: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    schedule: tuple[str, ...] = SCHEDULES
    recompute: tuple[str, ...] = RECOMPUTE
    zero: tuple[int, ...] = (0, 1, 2, 3)
    sequence_parallel: tuple[bool, ...] = (False, True)
    overlap: tuple[bool, ...] = (True, False)


TRAINING = Space()
# Serving keeps neither gradients nor activations; a replica's batch is its microbatch.
SERVING = Space(
    ep=(1,), microbatch=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    interleave=(1,), schedule=("1f1b",), recompute=("none",), zero=(0,), sequence_parallel=(False,),
    overlap=(True,),
)  # fmt: skip


def training_space(work: Workload) -> Space:
    """Every layout of training; fused attention keeps nothing that recomputing it alone would free.

    Context-parallel ranks are those that leave each at least RANK_TOKENS tokens of a sequence.
    """
    length = work.sequence_length
    context = tuple(part for part in divisors(length) if part == 1 or length // part >= RANK_TOKENS)
    recompute = ("none", "full") if work.attention == "fused" else RECOMPUTE
    return replace(TRAINING, cp=context, recompute=recompute)


def space_words(space: Space) -> dict[str, str]:
    """The values tried of each part, in words."""
    words = {field.name: ", ".join(map(_word, getattr(space, field.name))) for field in fields(Space)}
    every = {"microbatch": f"every divisor up to {MICROBATCH}"}
    return {name: tried or every.get(name, "every divisor") for name, tried in words.items()}


class Candidate(NamedTuple):
    """A layout with its figures, and why it cannot be used (None if it can)."""

    layout: Layout
    figures: Mapping[str, float]
    reason: str | None = None


Evaluate = Callable[[Sequence[Layout], Mapping[str, float]], Sequence[Candidate]]  # layouts and constraints
Parts = Callable[[Layout], Mapping[str, float]]  # milliseconds of a layout by part


@dataclass(frozen=True)
class Found:
    """Candidates that can run, best first; those that cannot; how many layouts were tried."""

    objective: str
    ranked: tuple[Candidate, ...]
    infeasible: tuple[Candidate, ...]

    @property
    def tried(self) -> int:
        """Layouts looked at, legal or not."""
        return len(self.ranked) + len(self.infeasible)


def divisors(number: int) -> tuple[int, ...]:
    """Every divisor, ascending."""
    return tuple(part for part in range(1, number + 1) if number % part == 0)


def layouts(space: Space, model: Architecture, gpus: int, batch: int) -> Iterator[Layout]:
    """Every layout of the space on exactly `gpus` GPUs, legal or not.

    A value that changes nothing (a schedule without a pipeline, ZeRO without replicas) is tried once.
    """
    every = divisors(gpus)
    for tp in space.tp or tuple(part for part in every if part <= model.heads):
        for pp in space.pp or tuple(part for part in every if part <= model.layers):
            for cp in space.cp:
                dp, left = divmod(gpus, tp * pp * cp)
                if left:
                    continue
                own = max(batch // dp, 1)
                sizes = space.microbatch or tuple(n for n in range(1, MICROBATCH + 1) if own % n == 0)
                for ep in space.ep or (divisors(model.experts) if model.experts else (1,)):
                    if ep <= dp:
                        yield from _variants(space, Layout(dp=dp, tp=tp, pp=pp, ep=ep, cp=cp), sizes)


def _variants(space: Space, base: Layout, microbatches: Sequence[int]) -> Iterator[Layout]:
    runs = [(name, n) for name in space.schedule for n in space.interleave if (name == "interleaved") == (n > 1)]
    choices = product(
        microbatches,
        runs if base.pp > 1 else [("1f1b", 1)],
        space.recompute,
        space.zero if base.dp > 1 else (0,),
        space.sequence_parallel if base.tp > 1 else (False,),
        space.overlap if base.dp * base.cp > 1 else (True,),
    )
    for microbatch, (schedule, chunks), recompute, zero, split, overlap in choices:
        yield Layout(
            base.dp, base.tp, base.pp, base.ep, base.cp,
            microbatch, schedule, chunks, recompute, zero, split, overlap,
        )  # fmt: skip


def search(
    tried: Iterable[Layout],
    impossible: Callable[[Sequence[Layout]], Sequence[str | None]],
    evaluate: Evaluate,
    objective: str,
    constraints: Mapping[str, float] | None = None,
    again: Callable[[Sequence[Layout]], Sequence[Layout]] | None = None,
) -> Found:
    """Rank every layout of `tried`: those `impossible` names a reason for are not evaluated, and of those that do
    not fit in memory, or not in what the constraints leave of it, no time is forecast.

    `again` names layouts to try besides, of those that fit.
    """
    every = list(islice(tried, MOST["layouts"][0] + 1))
    check("layouts", len(every), "the search")
    reasons, bounds = impossible(every), constraints or {}
    ranked = []
    infeasible = [Candidate(layout, {}, reason) for layout, reason in zip(every, reasons, strict=True) if reason]
    evaluated = list(evaluate([x for x, reason in zip(every, reasons, strict=True) if reason is None], bounds))
    if again is not None:
        evaluated += evaluate(
            again([candidate.layout for candidate in evaluated if candidate.reason is None]), bounds
        )
    for candidate in evaluated:
        if reason := candidate.reason or broken(candidate.figures, bounds):
            infeasible.append(candidate if candidate.reason else candidate._replace(reason=reason))
        else:
            ranked.append(candidate)
    return Found(objective, tuple(_sorted(ranked, lambda one: value(one, objective))), tuple(infeasible))


def _sorted(candidates: Iterable[Candidate], key: Callable[[Candidate], Any]) -> Iterator[Candidate]:
    """By `key`; equals by their labels, which take time to write."""
    for _, equal in groupby(sorted(candidates, key=key), key):
        first, *others = equal
        yield from sorted((first, *others), key=lambda one: one.layout.label) if others else (first,)


def value(candidate: Candidate, objective: str) -> float:
    """What is minimised: milliseconds, or dollars per token; without a price, GPU-seconds per token rank alike."""
    figures = candidate.figures
    if objective == "step_time":
        return figures["step_ms"]
    if objective == "ttft":
        return figures["ttft_ms"]
    return figures.get("usd_per_million_tokens", candidate.layout.gpus / figures["tokens_per_s"])


def parse_constraints(texts: Sequence[str]) -> dict[str, float]:
    """`memory_gb=70 tpot_ms=50` as a mapping; InputError where a text is not such a bound."""
    found = {}
    for text in texts:
        match = re.fullmatch(r"(\w+)=(\d+(?:\.\d+)?(?:e\d+)?)", text)
        if match is None or match[1] not in CONSTRAINTS:
            remedy = f"expected NAME=NUMBER, NAME of {', '.join(CONSTRAINTS)}"
            raise InputError("--constraints", f"{text!r} is not understood", remedy)
        found[match[1]] = float(match[2])
    return found


def parse_part(text: str) -> tuple[str, object]:
    """`tp=8`, `recompute=full` as a part of a layout and its value."""
    part, _, wanted = text.partition("=")
    kinds = {field.name: type(getattr(Layout(), field.name)) for field in fields(Layout) if field.name != "stages"}
    kind = kinds.get(part.replace("-", "_"))
    good = {
        bool: wanted in ("true", "false"),
        int: bool(re.fullmatch("[0-9]{1,9}", wanted)),
        str: wanted in (*SCHEDULES, *RECOMPUTE),
    }
    if kind is None or not good[kind]:
        raise InputError("--why-not", f"{text!r} is no part of a layout", "such as tp=8, zero=3, recompute=full")
    return part.replace("-", "_"), wanted == "true" if kind is bool else kind(wanted)


def broken(figures: Mapping[str, float], constraints: Mapping[str, float]) -> str | None:
    """The first constraint that the figures break, in words."""
    for name, limit in constraints.items():
        if name not in figures:
            return f"{name} is bounded, but no such figure is known"
        found, at_least = figures[name], name == CONSTRAINTS[-1]
        if found < limit if at_least else found > limit:
            return f"{name} {found:.4g} is {'less' if at_least else 'more'} than the {limit:g} allowed"
    return None


def pareto(candidates: Sequence[Candidate], first: str, second: str) -> list[Candidate]:
    """The Pareto front of two figures, both better when smaller."""
    front: list[Candidate] = []
    best = float("inf")
    for candidate in _sorted(candidates, lambda one: (one.figures[first], one.figures[second])):
        if candidate.figures[second] < best:
            best = candidate.figures[second]
            front.append(candidate)
    return front


def differences(one: Layout, other: Layout) -> str:
    """In what `one` differs from `other`: `tp 8 instead of 4, no recomputation instead of full`."""
    parts = ((field.name, getattr(one, field.name), getattr(other, field.name)) for field in fields(Layout))
    return ", ".join(
        f"{name.replace('_', ' ')} {_word(mine)} instead of {_word(theirs)}"
        for name, mine, theirs in parts
        if mine != theirs
    )


def _word(thing: object) -> str:
    if isinstance(thing, tuple):
        return in_runs(thing) or "even"
    return {True: "on", False: "off"}[thing] if isinstance(thing, bool) else str(thing)


def explain(layout: Layout, best: Layout, parts: Parts) -> str:
    """Why `layout` is behind `best`: what differs, and the parts of the time that cost or save most."""
    mine, theirs = parts(layout), parts(best)
    changes = {name: mine.get(name, 0.0) - theirs.get(name, 0.0) for name in {**theirs, **mine}}
    largest = sorted(changes.items(), key=lambda item: (-abs(item[1]), item[0]))
    changed = [f"{name} {float(f'{change:.3g}'):+,g} ms" for name, change in largest[:3] if abs(change) > 1e-6]
    return f"{differences(layout, best) or 'the same'}: {', '.join(changed) or 'no part differs'}"


def why_not(found: Found, part: str, wanted: object, parts: Parts) -> str:
    """Why no layout with `part` = `wanted` is the best: the best such one explained, or what stops them all."""
    mine = [candidate for candidate in found.ranked if getattr(candidate.layout, part) == wanted]
    if mine and mine[0] is found.ranked[0]:
        return f"{part} {wanted}: the best layout has it"
    if mine:
        place = found.ranked.index(mine[0]) + 1
        why = explain(mine[0].layout, found.ranked[0].layout, parts)
        behind = value(mine[0], found.objective) / value(found.ranked[0], found.objective) - 1
        return f"{part} {wanted}: place {place:,}, {behind:.1%} behind; {why}"
    stopped = [candidate for candidate in found.infeasible if getattr(candidate.layout, part) == wanted]
    if not stopped:
        return f"{part} {wanted}: no layout of the space has it on these GPUs"
    most = max(_by_kind(stopped), key=len)
    return f"{part} {wanted}: none of {len(stopped):,} layouts can run, most often because {most[0]}"


def reasons(found: Found) -> list[tuple[int, str]]:
    """How many layouts each kind of reason stops, most first, each with one example."""
    counted = [(len(every), every[0]) for every in _by_kind(found.infeasible)]
    return sorted(counted, key=lambda item: (-item[0], item[1]))


def _by_kind(stopped: Iterable[Candidate]) -> list[list[str]]:
    """Reasons, those together that differ in their numbers only."""
    kinds: dict[str, list[str]] = defaultdict(list)
    kind = cache(lambda reason: re.sub(r"\d[\d.,e+]*", "…", reason))
    for reason in (candidate.reason or "" for candidate in stopped):
        kinds[kind(reason)].append(reason)
    return list(kinds.values())
