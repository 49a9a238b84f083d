"""Kill `make reproduce` at seeded moments, give the same command again, compare every byte; for `make kills`.

The group is what Ctrl-C in a terminal or the end of a session reaches; the parent alone, Snakemake itself, is what
the system kills when memory is short. A kill counts only if a job was running when it came.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import psutil
from copies import REPRODUCE, Copy, literal
from smoke import left_behind, started

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WHOM = ("group", "parent")
EXCEPTION = re.compile(r"Traceback|\w*Exception\b|WorkflowError")
UP = 0.1  # processor seconds after which Python itself has surely started
HEADS = ("kill", "after, s", "running then", "code", "exceptions", "same bytes")


class Kill(NamedTuple):
    """One kill: its signal, whom it reaches, and how far into the run, as a part of an undisturbed one."""

    signal: signal.Signals
    whom: str
    moment: float


@dataclass(frozen=True)
class Ended:
    """What came of a kill."""

    kill: Kill
    seconds: float
    running: tuple[str, ...]  # jobs that it met
    code: int
    output: str
    same: bool = True  # whether what is there has the bytes of an undisturbed run


def kills(count: int, seed: int) -> list[Kill]:
    """Seeded kills: every signal to either in turn, at moments of their own."""
    draw = random.Random(seed)
    turns = [(sign, whom) for sign in SIGNALS for whom in WHOM]
    return [Kill(*turns[number % len(turns)], draw.uniform(0.05, 0.95)) for number in range(count)]


def snakemake_in(group: int) -> psutil.Process | None:
    """The run that `make` started, once it is there."""
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and "--logger" in process.cmdline():
                return process
        except (psutil.Error, ProcessLookupError):
            continue
    return None


def jobs(run: psutil.Process) -> list[str]:
    """The steps that a run has at work: the scripts of its children, once Python itself is up.

    What ends Python within its own start prints Python's words, whatever the script.
    """
    found = []
    with contextlib.suppress(psutil.Error):
        for child in run.children():
            script = re.search(r"scripts/tmp\w+\.(\w+)\.py", " ".join(child.cmdline()))
            if script and child.cpu_times().user >= UP:
                found.append(script[1])
    return found


def killed(copy: Copy, kill: Kill, duration: float) -> Ended | None:
    """Start the command, and kill it in the middle of a job; None where it ended before."""
    said = copy.root / "said.txt"
    with said.open("w") as output:
        process = started(copy, REPRODUCE, output)
    running: list[str] = []
    began, run = time.monotonic(), None
    while process.poll() is None and not running:
        time.sleep(0.02)
        run = run or snakemake_in(process.pid)
        if run and time.monotonic() - began >= kill.moment * duration:
            running = jobs(run)
    if not running or not run:
        assert process.wait() == 0, said.read_text()
        return None
    seconds = time.monotonic() - began
    if kill.whom == "group":
        os.killpg(process.pid, kill.signal)
    else:
        run.send_signal(kill.signal)
    return Ended(kill, seconds, tuple(running), process.wait(600), said.read_text())


def survived(folder: Path, whole: Copy, duration: float, series: Iterable[Kill], small: bool) -> Iterator[Ended]:
    """Kill runs that take `duration` undisturbed, give the command again, and kill it again.

    One that ends before its kill has the bytes of an undisturbed run, and the next one begins from nothing. The
    last goes on to its end.
    """
    expected, trees = whole.results(), 1
    copy = literal(folder / "0", small)
    for kill in series:
        while not (ended := killed(copy, kill, 0.5 * duration)):
            assert copy.results() == expected
            assert kill.moment > 0.01, "no run had a job at work when it was to be killed"
            kill = kill._replace(moment=0.6 * kill.moment)
            copy, trees = literal(folder / str(trees), small), trees + 1
        yield replace(ended, same=copy.results().items() <= expected.items())
    output = copy.reproduce().output
    assert not EXCEPTION.findall(output), output
    assert copy.results() == expected
    assert left_behind(copy) == []


def main() -> int:
    """Print a row a kill; 1 where one ends in an exception or changes a byte."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", type=int, default=42, help="kills of the smoke workflow")
    parser.add_argument("--default", type=int, default=12, help="kills of the default run, on what is kept")
    parser.add_argument("--seed", type=int, default=10)
    options = parser.parse_args()
    bad = 0
    for small, count in ((True, options.smoke), (False, options.default)):
        if not count:
            continue
        with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
            print("the smoke workflow" if small else "the default run, `measure: {mode: replay}`")
            whole = literal(Path(scratch, "whole"), small)
            seconds = whole.reproduce().seconds
            print(
                f"undisturbed: {seconds:.1f} s, {len(whole.results())} files; {count} kills, seed {options.seed}\n"
            )
            print("|", " | ".join(HEADS), "|\n" + "|---" * len(HEADS) + "|", flush=True)
            series = kills(count, options.seed)
            for ended in survived(Path(scratch), whole, seconds, series, small):
                found = EXCEPTION.findall(ended.output)
                bad += bool(found or not ended.same)
                whom = f"{ended.kill.signal.name} to {'the group' if ended.kill.whom == 'group' else 'Snakemake'}"
                cells: list[object] = [whom, f"{ended.seconds:.1f}", ", ".join(ended.running), ended.code]
                cells += [", ".join(found) or "none", "yes" if ended.same else "NO"]
                print("|", " | ".join(map(str, cells)), "|", flush=True)
            print("\nthe last run went on to its end: the same bytes, no exception, no litter\n", flush=True)
    print(f"\n{bad} kills with an exception or other bytes")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
