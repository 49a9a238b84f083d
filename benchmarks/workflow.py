"""How long the workflow takes, and what each step's imports cost it: `python benchmarks/workflow.py [--smoke]`.

Cold: from nothing. No-op: nothing to do. One figure: its drawing was edited. Warm: every job again. Two more runs
look into each job (import_probe.py): one for processor seconds, one to see which imports are used.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from copies import Copy, copy_tree  # noqa: E402 - found by the line above
from smoke import arguments, smoke  # noqa: E402

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


def main() -> None:
    """Print both tables; exit code 1 where a job is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the smoke workflow, not the whole one")
    parser.add_argument("--imports", action="store_true", help="the second table alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workflow-") as scratch:
        copy = copy_tree(Path(scratch, "tree"))
        run = smoke(Path(scratch, "run")) if options.smoke else copy
        words = arguments(tree=copy.root) if options.smoke else []
        if not options.imports:
            durations(copy, run, words)
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


def durations(copy: Copy, run: Copy, words: list[str]) -> None:
    """Print how long the workflow takes: cold, idle, one figure, warm."""
    print("| run | seconds | jobs |\n|---|---|---|")
    cold = run.snakemake(*words)
    print(f"| cold | {cold.seconds:.1f} | {len(cold.rules)} rules |", flush=True)
    idle = run.snakemake(*words)
    print(f"| no-op | {idle.seconds:.1f} | {len(idle.rules)} |", flush=True)
    drawing = copy.root / "src/tilecast/present/figures/fusion.py"
    drawing.write_text(drawing.read_text() + "\n# edited\n")
    one = run.snakemake(*words)
    print(f"| one figure edited | {one.seconds:.1f} | {', '.join(sorted(one.rules))} |", flush=True)
    warm = run.snakemake(*words, "--forceall")
    print(f"| warm, every job again | {warm.seconds:.1f} | {len(warm.rules)} rules |\n", flush=True)


if __name__ == "__main__":
    main()
