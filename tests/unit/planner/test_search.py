"""The search: every layout once, reasons for what cannot run, the best by brute force, what explains it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import RECOMPUTE, SCHEDULES, Layout, illegal, legal
from tilecast.planner.search import (
    TRAINING,
    Candidate,
    Found,
    Space,
    broken,
    differences,
    explain,
    layouts,
    pareto,
    parse_constraints,
    reasons,
    search,
    training_space,
    value,
    why_not,
)

GPT = equal_layers(load_model("gpt2_large"))
TWO = Layout(pp=2)
MIXTRAL = equal_layers(load_model("mixtral_8x7b"))


def made_up(tried: Sequence[Layout], bounds: object = None) -> list[Candidate]:
    """Figures that depend on every part of a layout, ."""
    found = []
    for place in tried:
        work = 1e3 / place.gpus * (1 + 0.1 * place.tp + 0.01 * place.microbatch) + place.pp
        sent = 3.0 * place.dp + place.zero + (place.recompute == "full") * 5
        memory = 100.0 / (place.tp * place.pp) - 5 * place.zero
        figures = {"step_ms": work + sent, "memory_gb": memory, "tokens_per_s": 1e6 / (work + sent)}
        reason = f"does not fit by {memory - 60:.1f} GB" if memory > 60 else None
        found.append(Candidate(place, figures, reason))
    return found


def parts(layout: Layout) -> dict[str, float]:
    """What `explain` compares."""
    return {"compute": 10.0 * layout.tp, "bubble": 1.0, "dp": 3.0 * layout.dp}


def all_layouts(gpus: int, batch: int) -> set[Layout]:
    """What a space holds, by plain loops over everything."""
    found = set()
    ranks = range(1, gpus + 1)
    for tp, pp in itertools.product(ranks, ranks):
        if gpus % (tp * pp):
            continue
        for mb, name, chunks, recompute, zero, split, overlap in itertools.product(
            range(1, 17), SCHEDULES, TRAINING.interleave, RECOMPUTE, range(4), (False, True), (False, True)
        ):
            layout = Layout(
                dp=gpus // tp // pp, tp=tp, pp=pp, microbatch=mb, schedule=name, interleave=chunks,
                recompute=recompute, zero=zero, sequence_parallel=split, overlap=overlap,
            )  # fmt: skip
            idle = (pp == 1 and name != "1f1b") or (layout.dp == 1 and (zero or not overlap))
            if not idle and legal(layout, GPT, gpus, batch, 1024) is None:
                found.add(layout)
    return found


@pytest.mark.parametrize(("gpus", "batch"), [(1, 4), (4, 8), (6, 12), (8, 8)])
def test_every_legal_layout_is_tried_once(gpus: int, batch: int) -> None:
    tried = list(layouts(TRAINING, GPT, gpus, batch))
    assert len(tried) == len(set(tried))
    assert {x for x in tried if legal(x, GPT, gpus, batch, 1024) is None} == all_layouts(gpus, batch)


def test_experts_are_spread_within_the_replicas() -> None:
    tried = list(layouts(TRAINING, MIXTRAL, 8, 16))
    assert {(x.dp, x.ep) for x in tried} == {(dp, ep) for dp in (1, 2, 4, 8) for ep in (1, 2, 4, 8) if ep <= dp}


@pytest.mark.parametrize("objective", ["step_time", "tokens_per_dollar"])
def test_the_best_is_the_best_by_brute_force(objective: str) -> None:
    found = search(
        layouts(TRAINING, GPT, 8, 16),
        lambda found: illegal(found, GPT, 8, 16, 1024),
        made_up,
        objective,
        {"memory_gb": 40},
    )
    every = [x for x in made_up(sorted(all_layouts(8, 16), key=lambda x: x.label)) if x.figures["memory_gb"] <= 40]
    assert value(found.ranked[0], objective) == min(value(x, objective) for x in every)
    assert [value(x, objective) for x in found.ranked] == sorted(value(x, objective) for x in every)
    assert found.tried == len(list(layouts(TRAINING, GPT, 8, 16)))
    assert all(x.reason for x in found.infeasible) and not any(x.reason for x in found.ranked)


def found_small() -> tuple[Layout, ...]:
    return tuple(layouts(TRAINING, GPT, 8, 16))


def test_why_not() -> None:
    found = search(found_small(), lambda found: illegal(found, GPT, 8, 16, 1024), made_up, "step_time")
    best = found.ranked[0].layout
    assert "the best layout has it" in why_not(found, "tp", best.tp, parts)
    other = next(x.layout.tp for x in found.ranked if x.layout.tp != best.tp)
    words = why_not(found, "tp", other, parts)
    assert f"tp {other} instead of {best.tp}" in words and "behind" in words and "ms" in words
    assert "do not divide" in why_not(found, "tp", 8, parts)
    assert "no layout of the space" in why_not(found, "tp", 3, parts)


def test_an_explanation_names_the_parts_that_changed_most() -> None:
    told = explain(Layout(tp=8), Layout(dp=8), parts)
    assert told == "dp 1 instead of 8, tp 8 instead of 1: compute +70 ms, dp -21 ms"
    assert differences(Layout(), Layout()) == ""


def test_reasons_are_counted_by_kind() -> None:
    heads = ["25 heads do not divide by tp 8", "96 heads do not divide by tp 64"]
    memory = ["does not fit by 3.4 GB (stage 0 of 8)", "does not fit by 1.2e+03 GB (stage 7 of 16)"]
    stopped = tuple(Candidate(TWO, {}, reason) for reason in (*heads, memory[0], heads[0], memory[1]))
    assert reasons(Found("step_time", (), stopped)) == [(3, heads[0]), (2, memory[0])]


@pytest.mark.parametrize("text", ["memory_gb", "colour=3", "memory_gb=-1", "memory_gb=1;2", "tpot_ms=", ""])
def test_a_bad_constraint_is_one_line(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_constraints([text])
    assert "\n" not in str(caught.value)


def test_constraints() -> None:
    bounds = parse_constraints(["memory_gb=70", "tokens_per_s=1e3"])
    assert broken({"memory_gb": 70.0, "tokens_per_s": 1000.0}, bounds) is None
    assert "more than the 70" in str(broken({"memory_gb": 70.1, "tokens_per_s": 1000.0}, bounds))
    assert "less than the 1000" in str(broken({"memory_gb": 1.0, "tokens_per_s": 999.0}, bounds))
    assert "no such figure" in str(broken({"memory_gb": 1.0}, bounds))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_pareto_front_by_definition(points: list[tuple[int, int]]) -> None:
    every = [Candidate(Layout(dp=n + 1), {"a": float(a), "b": float(b)}) for n, (a, b) in enumerate(points)]
    front = {(x.figures["a"], x.figures["b"]) for x in pareto(every, "a", "b")}
    best = {(a, b) for a, b in points if not any((c <= a and d <= b) and (c, d) != (a, b) for c, d in points)}
    assert front == best


def test_context_ranks_of_the_whole_space_keep_their_tokens() -> None:
    spec = load_model("gpt2_large")
    assert training_space(Workload(spec, 8, 2048, "training", dtype="bf16")).cp == (1,)
    assert training_space(Workload(spec, 8, 8192, "training", dtype="bf16")).cp == (1, 2, 4)
    tried = list(layouts(training_space(Workload(spec, 8, 4096, "training", dtype="bf16")), GPT, 4, 8))
    assert {(x.dp, x.cp) for x in tried if x.tp == x.pp == 1} == {(4, 1), (2, 2)}


def test_layouts_named_besides_are_ranked_with_the_others() -> None:
    spread = replace(TWO, stages=(17, 19))
    found = search(
        [TWO], lambda found: [None] * len(found), made_up, "step_time", again=lambda fit: [spread for _ in fit]
    )
    assert [x.layout for x in found.ranked] == [TWO, spread] and found.tried == 2
    assert differences(spread, TWO) == "stages 17,19 instead of even"


def test_a_space_of_one_layout() -> None:
    one = Space(
        tp=(2,), pp=(2,), microbatch=(4,), interleave=(1,), schedule=("1f1b",), recompute=("full",), zero=(1,),
        sequence_parallel=(True,), overlap=(True,),
    )  # fmt: skip
    assert [x.label for x in layouts(one, GPT, 8, 16)] == ["dp2 tp2 pp2 mb4 1f1b full zero1 sp"]
