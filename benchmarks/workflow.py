"""How long the workflow takes beside an empty one, and what each step's imports cost it.

`python benchmarks/workflow.py [--repeats 5] [--tree FOLDER] [--smoke] [--imports] [--durations]`. Whole: from
nothing. No-op: nothing to do. One figure: its drawing was edited. Empty: the floor, a workflow of one file that is
there. The last three run in turns, `--repeats` times each; wall and processor seconds, children included, are
medians. `--tree` names a folder where the workflow has run to its end, which then is not run from nothing. Two
more runs look into each job (import_probe.py): one for processor seconds, one to see which imports are used.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from copies import Copy, copy_tree  # noqa: E402 - found by the line above
from smoke import arguments, smoke  # noqa: E402

FIGURE = "src/tilecast/present/figures/fusion.py"
LIMIT_PERCENT = 100 / 3  # of a job's time, for imports that it does not use


@dataclass
class Step:
    """Processor seconds of a script's jobs, and of their imports."""

    wall: float = 0.0
    processor: float = 0.0
    imports: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    used: set[str] = field(default_factory=set)

    @property
    def imported(self) -> float:
        """All imports together."""
        return sum(self.imports.values())

    @property
    def idle(self) -> dict[str, float]:
        """Imports of which no function was called."""
        return {name: seconds for name, seconds in self.imports.items() if name not in self.used}


def probed(run: Copy, words: list[str], folder: Path, **environment: str) -> dict[str, Step]:
    """Run every job again with the probe; what it wrote, by script."""
    folder.mkdir()
    run.snakemake(*words, "--forceall", cores=1, TILECAST_PROBE=str(folder), **environment)
    steps: dict[str, Step] = defaultdict(Step)
    for path in folder.iterdir():
        record = json.loads(path.read_text())
        if named := re.fullmatch(r"tmp\w+\.(\w+)\.py", record["script"]):
            step = steps[named[1]]
            step.wall += record["wall_s"]
            step.processor += record["processor_s"]
            step.used |= set(record["used"])
            for name, seconds in record["imports"].items():
                step.imports[name] += seconds
    return steps


def spent(run: Copy, *words: str) -> tuple[float, float]:
    """Wall and processor seconds of one call of snakemake and its jobs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = run.snakemake(*words).seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def durations(copy: Copy, run: Copy, words: list[str], repeats: int, finished: bool) -> None:
    """Print what a whole run takes, then the medians of the three others in turns."""
    empty = run.root / "empty"
    empty.mkdir()
    (empty / "there.txt").touch()
    (empty / "Snakefile").write_text('rule all:\n    input: "there.txt"\n')
    drawing = copy.root / FIGURE
    text = drawing.read_text()

    def figure(turn: int) -> tuple[float, float]:
        drawing.write_text(f"{text}\n# edited {turn}\n")
        return spent(run, *words)

    found = {} if finished else {"whole": [spent(run, *words)]}
    spent(run, *words)  # once more, so that everything that is kept between runs is there
    for turn in range(repeats):
        found.setdefault("empty", []).append(spent(Copy(empty)))
        found.setdefault("no-op", []).append(spent(run, *words))
        found.setdefault("one figure", []).append(figure(turn))
    drawing.write_text(text)
    medians = {name: [statistics.median(row[k] for row in rows) for k in range(2)] for name, rows in found.items()}
    print(f"| run, median of {repeats} | wall s | processor s | over empty | over no-op |\n|---|---|---|---|---|")
    for name, (wall, processor) in medians.items():
        over = " | ".join(f"{processor / medians[floor][1]:.2f}" for floor in ("empty", "no-op"))
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {over} |")
    print(flush=True)


def main() -> None:
    """Print both tables; exit code 1 where a job is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the smoke workflow, not the whole one")
    parser.add_argument("--imports", action="store_true", help="the second table alone")
    parser.add_argument("--durations", action="store_true", help="the first table alone")
    parser.add_argument("--repeats", type=int, default=5, help="how often each run of the first table is timed")
    parser.add_argument("--tree", type=Path, help="a folder where the workflow has run to its end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workflow-") as scratch:
        target = Path(scratch, "tree")
        if options.tree:
            shutil.copytree(options.tree, target, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv"))
        copy = Copy(target) if options.tree else copy_tree(target)
        run = smoke(Path(scratch, "run")) if options.smoke else copy
        words = arguments(tree=copy.root) if options.smoke else []
        if not options.imports:
            durations(copy, run, words, options.repeats, bool(options.tree))
        if options.durations:
            return
        site = copy.root / "workflow/site/sitecustomize.py"
        site.write_text(site.read_text() + Path(__file__).with_name("import_probe.py").read_text())
        steps = probed(run, words, Path(scratch, "timed"))
        seen = probed(run, words, Path(scratch, "seen"), TILECAST_PROBE_USE="1")
    print("| step | job, wall s | job, processor s | imports | of them unused | unused, % of the job | which |")
    print("|---|---|---|---|---|---|---|")
    over = []
    for name, step in sorted(steps.items()):
        step.used = seen[name].used
        idle = sum(step.idle.values())
        share = 100 * idle / step.processor
        over += [name] if share > LIMIT_PERCENT else []
        which = ", ".join(sorted(step.idle, key=lambda module: -step.idle[module]))
        times = f"{step.wall:.2f} | {step.processor:.2f} | {step.imported:.2f} | {idle:.2f} | {share:.0f}"
        print(f"| {name} | {times} | {which} |", flush=True)
    raise SystemExit(f"over a third of the job: {', '.join(over)}" if over else 0)


if __name__ == "__main__":
    main()
