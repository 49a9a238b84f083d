"""How many jobs of a default run an edit of each module re-runs: computed from one dry run, kept as a table.

`python tests/support/blast_radius.py` writes tests/workflow/blast_radius.csv anew. A module's jobs are those that
run it, and all that follow from them; the final `all` counts, as Snakemake counts it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from copies import ROOT, Copy, copy_tree

TABLE = ROOT / "tests/workflow/blast_radius.csv"


@dataclass(frozen=True)
class Job:
    """One job of a run: its rule, the files it reads, the modules it runs among them, and those it writes."""

    rule: str
    inputs: frozenset[str]
    outputs: frozenset[str]


# Run in a copy: Snakemake says of a job's parameters nothing in a dry run.
LIST = """
import json
from snakemake.cli import main
from snakemake.jobs import Job

def told(job, **_):
    given = [value for part in job.params for value in (part if isinstance(part, list) else [part])]
    code = [value.split(" ")[0] for value in given if isinstance(value, str) and value.startswith("src/tilecast/")]
    print("LISTED", json.dumps([job.rule.name, [*job.input, *code], list(job.output)]), flush=True)

Job.log_info = told
main(["--dry-run", "--forceall", "--cores", "1"])
"""


def jobs_of(copy: Copy) -> list[Job]:
    """Every job of the default run, as a dry run that takes everything as stale lists them."""
    done = subprocess.run([sys.executable, "-c", LIST], cwd=copy.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    listed = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("LISTED ")]
    return [Job(rule, frozenset(read), frozenset(written)) for rule, read, written in listed]


def rerun(file: str, jobs: list[Job]) -> list[Job]:
    """The jobs that an edit of a file re-runs."""
    changed, todo = {file}, set(jobs)
    while found := {job for job in todo if job.inputs & changed}:
        todo -= found
        changed = {name for job in found for name in job.outputs}
    return [job for job in jobs if job not in todo]


def modules() -> list[str]:
    """Every module of the library."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.py"))


def radius(jobs: list[Job]) -> dict[str, int]:
    """Module -> jobs that a comment appended to it re-runs."""
    return {module: len(rerun(module, jobs)) for module in modules()}


def allowed() -> dict[str, int]:
    """The table: module -> the most jobs that an edit of it may re-run."""
    with TABLE.open(newline="") as lines:
        return {row["module"]: int(row["jobs"]) for row in csv.DictReader(lines)}


def write(table: Mapping[str, int]) -> None:
    """Write the table, the worst first."""
    rows = sorted(table.items(), key=lambda row: (-row[1], row[0]))
    TABLE.write_text("module,jobs\n" + "".join(f"{module},{jobs}\n" for module, jobs in rows))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = jobs_of(copy_tree(Path(folder) / "tree"))
    counted = radius(found)
    write(counted)
    middle = sorted(counted.values())[len(counted) // 2]
    print(
        f"{len(found)} jobs, {len(counted)} modules: median {middle}, worst {max(counted.values())}",
        file=sys.stderr,
    )
