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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
from copies import REPRODUCE, Copy, literal
from smoke import left_behind, started

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
WHOM = ("group", "parent")
EXCEPTION = re.compile(r"Traceback|\w*Exception\b|WorkflowError")
AT_WORK = "is at work in this folder"
HEADS = ("kill", "after, s", "running then", "code", "then", "exceptions", "litter", "same bytes")


class Kill(NamedTuple):
    """One kill: its signal, whom it reaches, and how far into the run, as a part of an undisturbed one."""

    signal: signal.Signals
    whom: str
    moment: float


class Ended(NamedTuple):
    """What came of a kill."""

    kill: Kill
    seconds: float
    running: tuple[str, ...]  # jobs that it met
    code: int
    output: str


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
    """The steps that a run has at work: the scripts of its children."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in run.children():
            if script := re.search(r"scripts/tmp\w+\.(\w+)\.py", " ".join(child.cmdline())):
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
        return None
    seconds = time.monotonic() - began
    if kill.whom == "group":
        os.killpg(process.pid, kill.signal)
    else:
        run.send_signal(kill.signal)
    return Ended(kill, seconds, tuple(running), process.wait(600), said.read_text())


def resumed(copy: Copy, seconds: float = 600) -> tuple[str, int]:
    """Give the command until it succeeds: (all it said, how often it said that jobs of the killed run live)."""
    said, told, end = "", 0, time.monotonic() + seconds
    while True:
        output = copy.root / "said.txt"
        with output.open("w") as file:
            code = started(copy, REPRODUCE, file).wait(seconds)
        said += output.read_text()
        if code == 0:
            return said, told
        assert AT_WORK in output.read_text(), output.read_text()[-4000:]
        assert time.monotonic() < end, "jobs of the killed run do not end"
        told += 1
        time.sleep(1)


def series(folder: Path, count: int, seed: int, small: bool) -> Iterator[tuple[Ended, str, int, bool, Copy]]:
    """Kill runs of the smoke workflow, each of them then brought to its end; or one default run again and again.

    Yields for each kill what came of it, what the next runs said, how often they had to wait, whether all bytes
    are those of an undisturbed run (of those that are there, in a run that is killed again), and the folder.
    """
    whole = literal(folder / "whole", small)
    duration = whole.reproduce().seconds
    expected = whole.results()
    print(f"undisturbed: {duration:.1f} s, {len(expected)} files; {count} kills, seed {seed}\n", flush=True)
    copy, trees = literal(folder / "0", small), 1
    for kill in kills(count, seed):
        share = 1.0 if small else 0.3  # of a run's time, until it is killed again
        while not (ended := killed(copy, kill, share * duration)):
            assert copy.results() == expected
            assert kill.moment > 0.01, "no run had a job at work when it was to be killed"
            kill = kill._replace(moment=0.6 * kill.moment)
            copy, trees = literal(folder / str(trees), small), trees + 1
        said, told = resumed(copy) if small else ("", 0)
        there = copy.results()
        same = (
            there == expected if small else {name: expected[name] for name in there if name in expected} == there
        )
        yield ended, said, told, same, copy
        if small:
            copy, trees = literal(folder / str(trees), small), trees + 1
    if not small:
        said, told = resumed(copy)
        print(f"\nbrought to its end: {EXCEPTION.findall(said) or 'no exceptions'}, told to wait {told} times")
        assert copy.results() == expected
        print("every byte as in the undisturbed run")


def main() -> int:
    """Print a row a kill; 1 where one ends in an exception, leaves litter or changes a byte."""
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
            for number, (ended, said, told, same, copy) in enumerate(
                series(Path(scratch), count, options.seed, small)
            ):
                if not number:
                    print("|", " | ".join(HEADS), "|\n" + "|---" * len(HEADS) + "|")
                found = EXCEPTION.findall(ended.output + said)
                litter = left_behind(copy) if small else []
                bad += bool(found or litter or not same)
                whom = f"{ended.kill.signal.name} to {'the group' if ended.kill.whom == 'group' else 'Snakemake'}"
                then = (
                    f"told {told} times to wait, then finished"
                    if told
                    else "finished"
                    if small
                    else "killed again"
                )
                cells: list[object] = [whom, f"{ended.seconds:.1f}", ", ".join(ended.running), ended.code, then]
                cells += [", ".join(found) or "none", len(litter), "yes" if same else "NO"]
                print("|", " | ".join(map(str, cells)), "|", flush=True)
    print(f"\n{bad} kills with an exception, litter or other bytes")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
