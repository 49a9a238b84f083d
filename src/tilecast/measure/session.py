"""Time the kernels of a plan within a budget of seconds, going on where the last run stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.measure import kernels as torch_kernels
from tilecast.measure.backend import (
    Action,
    Backend,
    DeviceLost,
    OutOfMemory,
    Unsupported,
    guarded,
    outcome_of,
    timed,
)
from tilecast.measure.grid import held
from tilecast.measure.store import Run
from tilecast.tables.declared.measured import KERNEL_KEY

EACH_S = 0.15  # timed for at most about so long, each of the two ways
LONGEST_SHARE = 0.1  # a kernel forecast to need more than this share of the budget is left out of this run


class Progress:
    """A line on the terminal that says how far a run is and how much time is left; elsewhere silent."""

    def __init__(self, total_s: float, clock: Callable[[], float]) -> None:
        self._total, self._clock, self._start = total_s, clock, clock()
        self._shown = sys.stderr.isatty()

    def left_s(self) -> float:
        """Seconds of the budget that remain."""
        return self._total - (self._clock() - self._start)

    def show(self, count: int, what: str) -> None:
        """Draw the line anew."""
        if self._shown:
            left = max(0.0, self.left_s())
            filled = round(30 * (1 - left / self._total))
            bar = "#" * filled + "." * (30 - filled)
            line = f"\r[{bar}] {count} measured, {left:4.0f} s left, {what[:40]:40}"
            print(line, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            print(file=sys.stderr)


def measure_kernels(
    backend: Backend,
    plan: pd.DataFrame,
    run: Run,
    budget_s: float,
    clock: Callable[[], float] = time.monotonic,
    action: Callable[..., Any] = torch_kernels.action,
    also: Callable[[dict[str, Any], Action], None] | None = None,
) -> dict[str, Any]:
    """Time the kernels of `plan` in its order until the budget is spent; rows go to `run`.

    `also` is called with each kernel that was timed, ready to run. Returns counts: measured, out of memory,
    failed, known (timed earlier), left. What was timed is on disk however this ends.
    """
    if budget_s <= 0:
        raise InputError("budget", f"{budget_s:g} s leaves no time to measure", "give more than zero, such as 60s")
    todo = [row for row in records(plan) if run.key(row) not in run.known]
    progress = Progress(budget_s, clock)
    tally = {"measured": 0, "out of memory": 0, "failed": 0}
    started, ended = backend.state(), "interrupted"
    skipped = 0
    try:
        for row in todo:
            left = progress.left_s()
            if left <= 0:
                break
            forecast_s = float(row.get("predicted_ms") or 0.0) / 1e3
            if forecast_s > LONGEST_SHARE * budget_s or forecast_s > left:
                skipped += 1
                continue
            progress.show(len(run.rows), f"{row['op']} {row['dtype']}")
            made: list[Action] = []

            def make(row: Mapping[str, Any], place: str, made: list[Action] = made) -> Action:
                made.append(action(row, place))
                return made[0]

            try:
                result = measure_one(backend, row, min(EACH_S, budget_s / 100), make)
            except DeviceLost as error:  # not tried again
                run.add({name: row[name] for name in KERNEL_KEY} | outcome_of(error))
                raise
            run.add(result)
            tally[result["outcome"]] += 1
            if also and result["outcome"] == "measured":
                also(row, made[0])
        ended = "complete"
    finally:  # a lost device, an interruption: what was timed is kept
        progress.end()
        run.save(ended, facts=backend.facts(), state_before=started, state_after=_quietly(backend))
    return tally | {
        "known": len(plan) - len(todo), "left": len(todo) - sum(tally.values()), "too_long": skipped,
    }  # fmt: skip


def distinct(plan: pd.DataFrame) -> pd.DataFrame:
    """A plan's kernels in the order to measure them, each once, with the longest time anyone forecasts."""
    ordered = plan.sort_values(["rank", "predicted_ms"], kind="stable")
    return ordered.drop_duplicates(list(KERNEL_KEY), keep="last")


def records(plan: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a plan as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in plan.to_dict("records")]


def measure_one(
    backend: Backend, row: Mapping[str, Any], seconds: float, action: Callable[..., Any] = torch_kernels.action
) -> dict[str, Any]:
    """One row of `measured_kernels`: timed with caches flushed and as they are, or why not."""
    result = {name: row[name] for name in KERNEL_KEY}
    needed = held(row) * ELEMENT_BYTES[row["dtype"]]
    try:
        if row["dtype"] not in backend.dtypes:
            raise Unsupported(f"{row['dtype']} is not measured on {backend.title}")
        if needed > backend.memory_bytes:
            raise OutOfMemory(f"needs {needed / 1e9:.3g} GB, {backend.memory_bytes / 1e9:.3g} GB may be used")
        with guarded(f"{row['family']} {row['op']}", backend):
            backend.precision(row["dtype"])
            run = action(row, backend.place)
            cold = timed(backend, run, seconds)
            warm = timed(backend, run, seconds, flush=False)
            launches = backend.launches(run) if backend.kind == "cuda" else []
    except (OutOfMemory, Unsupported) as error:
        backend.free()
        return result | outcome_of(error)
    main = max(launches, key=lambda launch: launch.duration_ms, default=None)
    return result | vars(cold) | backend.state() | {
        "warm_ms": warm.latency_ms,
        "outcome": "measured",
        "kernel_name": main.name if main else None,
        "grid": main.grid if main else None,
        "block": main.block if main else None,
    }  # fmt: skip


def _quietly(backend: Backend) -> dict[str, float | None]:
    """The device's state, also of one that no longer answers."""
    try:
        return backend.state()
    except Exception:  # whatever a lost device's driver raises must not hide why it was lost
        return {}
