"""Sensitivity by one input at a time: what a tornado diagram shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Input = TypeVar("Input")
Case = TypeVar("Case")
Result = TypeVar("Result")


def one_at_a_time(
    case: Case,
    inputs: Iterable[tuple[Input, Case | None, Case | None]],
    evaluate: Callable[[Case], Result],
) -> Iterator[tuple[Input, Result, Result, Result]]:
    """Each input with the result of the case as it is, with the input at its low end, and at its high end.

    `inputs` names the case changed to either end; None is an end that does not apply, and its input is left out.
    """
    base = evaluate(case)
    for name, low, high in inputs:
        if low is not None and high is not None:
            at_low, at_high = (base if end == case else evaluate(end) for end in (low, high))
            yield name, base, at_low, at_high
