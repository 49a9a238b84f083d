"""How many jobs of a default run an edit of each module re-runs: computed from one dry run, kept as a table.

`python tests/support/blast_radius.py` writes tests/workflow/blast_radius.csv anew. A module's jobs are those that
name it among their inputs, and all that follow from them; the final `all` counts, as Snakemake counts it.
"""

from __future__ import annotations

import csv
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from copies import ROOT, Copy, copy_tree

TABLE = ROOT / "tests/workflow/blast_radius.csv"


@dataclass(frozen=True)
class Job:
    """One job of a run: its rule, and the files it reads and writes."""

    rule: str
    inputs: frozenset[str]
    outputs: frozenset[str]


def jobs_of(copy: Copy) -> list[Job]:
    """Every job of the default run, as a dry run that takes everything as stale lists them."""
    listed = copy.snakemake("--dry-run", "--forceall").output
    jobs = []
    for block in re.split(r"^(?=(?:local)?rule \w+:$)", listed, flags=re.MULTILINE)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)
        assert rule is not None
        files = dict(re.findall(r"^    (input|output): (.*)$", block, flags=re.MULTILINE))
        read, written = (frozenset(_names(files.get(kind, ""))) for kind in ("input", "output"))
        jobs.append(Job(rule[1], read, written))
    return jobs


def _names(line: str) -> Iterable[str]:
    return (name.removesuffix(" (cached)") for name in line.split(", ") if name)


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
