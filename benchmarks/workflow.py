"""How long the workflow takes, and how much of each step is imports: `python benchmarks/workflow.py [--smoke]`.

Cold: from nothing. No-op: nothing to do. One figure: its drawing was edited. Warm: every job again. Then, for each
step, the seconds its job took in the cold run, the processor seconds its imports take, and the large ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from copies import Copy, copy_tree  # noqa: E402 - found by the line above
from smoke import arguments, smoke  # noqa: E402

LARGE = ("torch", "transformers", "matplotlib", "seaborn", "scipy", "pandas", "pyarrow", "jinja2", "typst")


def imports(script: str) -> tuple[float, list[str]]:
    """Processor seconds to import what a script imports, beyond the bare interpreter, and the large packages."""
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    spent = []
    for words in (["-c", "pass"], ["-c", code, script]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        path = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'workflow/scripts'}"
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return spent[1] - spent[0], [name for name in LARGE if name in done.stdout.split()]


def durations(copy: Copy) -> dict[str, float]:
    """Seconds of the longest job of each rule, as Snakemake recorded them."""
    found: dict[str, float] = {}
    for path in (copy.root / ".snakemake/metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            found[record["rule"]] = max(found.get(record["rule"], 0), record["endtime"] - record["starttime"])
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the smoke workflow, not the whole one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="workflow-") as scratch:
        copy = copy_tree(Path(scratch, "tree"))
        run = smoke(Path(scratch, "run")) if options.smoke else copy
        words = arguments(tree=copy.root) if options.smoke else []
        print("| run | seconds | jobs |\n|---|---|---|")
        cold = run.snakemake(*words)
        print(f"| cold | {cold.seconds:.1f} | {len(cold.rules)} rules |", flush=True)
        taken = durations(run)
        idle = run.snakemake(*words)
        print(f"| no-op | {idle.seconds:.1f} | {len(idle.rules)} |", flush=True)
        drawing = copy.root / "src/tilecast/plot/fusion.py"
        drawing.write_text(drawing.read_text() + "\n# edited\n")
        one = run.snakemake(*words)
        print(f"| one figure edited | {one.seconds:.1f} | {', '.join(sorted(one.rules))} |", flush=True)
        warm = run.snakemake(*words, "--forceall")
        print(f"| warm, every job again | {warm.seconds:.1f} | {len(warm.rules)} rules |\n", flush=True)
    print("| step | job, s | imports, processor s | share | large packages |\n|---|---|---|---|---|")
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    for name in sorted(scripts & set(taken)):
        seconds, packages = imports(name)
        share = 100 * seconds / taken[name]
        print(
            f"| {name} | {taken[name]:.2f} | {seconds:.2f} | {share:.0f} % | {', '.join(packages)} |", flush=True
        )


if __name__ == "__main__":
    main()
