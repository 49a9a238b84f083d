"""A campaign: everything there is to measure on a borrowed device, in one process and one budget of seconds.

Stages follow each other in the order of what they teach a second. Each has seconds of its own; what one leaves
over the next may use. Whatever ends a stage is written down and the next one begun. A later call, on this machine
or on another one of its kind, goes on where this one ended.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tilecast.base.errors import TilecastError
from tilecast.measure.backend import Backend
from tilecast.measure.stages import Bench
from tilecast.measure.store import Run
from tilecast.tables.declared.measured import MEASURED

CAMPAIGN = "TILECAST_CAMPAIGN"  # what a process that begins anew after a lost device takes over
GRACE = 0.03  # of the budget: how much later than planned the last thing of a stage may end
AGAIN_S = 2.0  # a library that catches TimeOver gets it again
LIBRARIES = (
    "torch._dynamo", "torch._inductor.compile_fx", "torch.distributed.tensor", "torch.nn.attention",
    "transformers.modeling_utils", "transformers.models.llama.modeling_llama",
)  # fmt: skip
STARTS = 5  # processes of a campaign at most
WORTH_S = 15.0  # left of a budget, below which nothing is begun anew
REPORT = "campaign"  # the stage under which a campaign writes down how its stages went


class TimeOver(BaseException):
    """The stage's time is over; no handler of errors on the way may keep it."""


@dataclass(frozen=True)
class Stage:
    """A part of a campaign: its share of the budget, the seconds that suffice, and what it does in so many."""

    name: str
    share: float
    enough_s: float
    work: Callable[[Campaign, Bench, float], object]

    def seconds(self, budget_s: float) -> float:
        """What it may take of a budget."""
        return min(self.share * budget_s, self.enough_s)


@dataclass
class Campaign:
    """The device, the files that rows go to, and the time there is."""

    backend: Backend
    folder: Path
    about: Mapping[str, Any]
    kept: Sequence[Path] = ()
    clock: Callable[[], float] = time.monotonic
    say: Callable[[str], None] = print
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in MEASURED:
            self.runs[kind] = Run(self.backend, self.folder, kind, self.about, self.kept)

    def run(self, stages: Sequence[Stage], began: float, budget_s: float, starts: int = 1) -> str:
        """Run all stages; returns how it ended: complete, or `device lost` where a new process should go on.

        However it ends, what was measured is on disk.
        """
        try:
            return self._run(stages, began, budget_s, starts)
        finally:
            self.save()

    def _run(self, stages: Sequence[Stage], began: float, budget_s: float, starts: int) -> str:
        ends, readings = began if starts > 1 else self.clock(), self.runs["readings"]
        for place, stage in enumerate(stages):
            last = place == len(stages) - 1
            ends = began + budget_s if last else ends + stage.seconds(budget_s)
            started = self.clock()
            left, outcome, reason = ends - started, "measured", ""
            before = {kind: len(run.rows) for kind, run in self.runs.items()}
            hard = min(ends + GRACE * budget_s, began + budget_s) - started
            try:
                if left <= 0:
                    raise TimeOver
                with _alarm(hard):
                    stage.work(self, Bench(self.backend, readings, stage.name), left)
            except TimeOver:
                reason = "its time was over"
            except Exception as error:  # also a library's own: the next stage may work
                words = (str(error).strip() or "no words").splitlines()[0]
                outcome, reason = "failed", f"{type(error).__name__}: {words}"[:300]
            took = self.clock() - started
            rows = ", ".join(
                f"{len(run.rows) - before[kind]} {kind}"
                for kind, run in self.runs.items()
                if len(run.rows) > before[kind]
            )
            line = {"stage": REPORT, "item": stage.name, "variant": str(starts), "place": place}
            line |= {"latency_ms": max(1e3 * took, 1e-3), "repetitions": 1, "outcome": outcome, "reason": reason}
            readings.add(line)
            at = f"{started - began:7.1f} s  {stage.name:12} {took:6.1f} of {max(left, 0):6.1f} s"
            self.say(f"{at}  {rows or 'nothing new'}" + (f"  [{reason}]" if reason else ""))
            self.save()
            if outcome == "failed" and not self.backend.answers():
                return "device lost"
        return "complete"

    def save(self) -> None:
        """Write everything down; what a full disk refuses stays in memory and is tried again."""
        for run in self.runs.values():
            try:
                if run.written < len(run.rows):
                    run.save("complete", facts=self.backend.facts())
            except TilecastError as error:
                self.say(f"not written: {error}")


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Within: TimeOver is raised once the seconds are over, whatever runs."""

    armed = True

    def ring(number: int, frame: FrameType | None) -> None:
        if armed:
            raise TimeOver

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01), AGAIN_S)
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def preload() -> None:
    """Import what stages would import later: a library that TimeOver ends half imported works no more."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def taken_over(budget_s: float, clock: Callable[[], float] = time.monotonic) -> tuple[str, float, float, int]:
    """(name, beginning, budget, number of the process) of the campaign that this process runs."""
    if before := os.environ.get(CAMPAIGN):
        name, began, budget, starts = json.loads(before)
        return str(name), float(began), float(budget), int(starts) + 1
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), clock(), budget_s, 1


def begin_anew(name: str, began: float, budget_s: float, starts: int) -> None:
    """Replace this process by one that goes on with the campaign: a lost device answers a new process only."""
    if starts >= STARTS or began + budget_s - time.monotonic() < WORTH_S:
        return
    os.environ[CAMPAIGN] = json.dumps([name, began, budget_s, starts])
    sys.stdout.flush()
    for held in Path("/proc/self/fd").iterdir():  # the old process's hold on the device must end with it
        with contextlib.suppress(OSError):
            os.set_inheritable(int(held.name), int(held.name) < 3)
    os.execv(sys.executable, [sys.executable, "-m", "tilecast", *sys.argv[1:]])
