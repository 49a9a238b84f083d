"""Kill a run at seeded moments, resume it, compare; a table of it: `python benchmarks/crash.py [--full] [RUNS]`.

The smoke workflow (tests/support/smoke.smk), or with --full the whole one. Each run starts from nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from copies import Copy, copy_tree  # noqa: E402 - found by the line above
from smoke import arguments, begin, left_behind, smoke  # noqa: E402

HEADS = ("killed after, s", "jobs done", "running then", "lock left", "resumed in, s", "litter", "identical")


def killed(copy: Copy, words: list[str], seconds: float) -> tuple[int, list[str]]:
    """Run for a time and kill the whole process group: (jobs finished, jobs that were running)."""
    process = begin(copy, "--cores", "2", *words)
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    running = re.findall(r"^(?:local)?rule (\w+):$", output, re.MULTILINE)
    finished = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)$", output, re.MULTILINE)
    for name in finished:
        running.remove(name)
    return len(finished), running


def main() -> None:
    """Print one row a kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=int, default=20)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    words = [] if options.full else arguments()
    draw = random.Random(10)
    with tempfile.TemporaryDirectory(prefix="crash-") as scratch:

        def fresh(name: str) -> Copy:
            folder = Path(scratch, name)
            return copy_tree(folder) if options.full else smoke(folder)

        whole = fresh("whole")
        undisturbed = whole.snakemake(*words).seconds
        expected = whole.results()
        print(f"undisturbed: {undisturbed:.1f} s, {len(expected)} files\n")
        print("|", " | ".join(HEADS), "|\n" + "|---" * len(HEADS) + "|")
        for number in range(options.runs):
            copy = fresh(str(number))
            moment = draw.uniform(0.02, 1.0) * undisturbed
            done, running = killed(copy, words, moment)
            locked = any((copy.root / ".snakemake/locks").glob("*"))
            started = time.perf_counter()
            copy.snakemake(*words)
            resumed = time.perf_counter() - started
            same = copy.results() == expected
            cells = (f"{moment:.1f}", done, ", ".join(running) or "none", "yes" if locked else "no")
            cells += (f"{resumed:.1f}", len(left_behind(copy)), "yes" if same else "NO")
            print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
