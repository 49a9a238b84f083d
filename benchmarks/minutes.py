"""How long the files that claims rest on take to make, from nothing: `minutes.py [FOLDER]` writes the record anew.

FOLDER holds a whole run (here, by default). Of each step Snakemake keeps when it began and ended; a file's time is
the sum over the steps it needs. Run with `mode: replay` of `measure` in the configuration and with `--cores 1`, on
a machine that does nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

from blast_radius import Job, jobs_of  # noqa: E402
from copies import copy_tree  # noqa: E402

from tilecast.evaluate.claims import DATASETS  # noqa: E402
from tilecast.tables.declared.results import MINUTES  # noqa: E402
from tilecast.tables.io import write  # noqa: E402

TARGET = ROOT / "resources/reference/minutes.csv"
OTHERS = ("results/evaluation/claims.csv", "results/report/index.html", "results/ro-crate-metadata.json")


def seconds(job: Job, folder: Path) -> float:
    """What Snakemake kept of a step in the folder's run."""
    name = urlsafe_b64encode(sorted(job.outputs)[0].encode()).decode()
    kept = json.loads((folder / ".snakemake/metadata" / name).read_text())
    return float(kept["endtime"] - kept["starttime"])


def needed(file: str, jobs: list[Job]) -> set[Job]:
    """The steps without which the file is not made."""
    maker = {output: job for job in jobs for output in job.outputs}
    found: set[Job] = set()
    todo = [file]
    while todo:
        job = maker.get(todo.pop())
        if job is not None and job not in found:
            found.add(job)
            todo += job.inputs
    return found


def main(folder: Path) -> None:
    """Write the record."""
    with tempfile.TemporaryDirectory() as scratch:
        jobs = jobs_of(copy_tree(Path(scratch) / "tree"))
    files = sorted({*DATASETS.values(), *OTHERS})
    rows = [(file, needed(file, jobs)) for file in files]
    table = pd.DataFrame(
        [(file, len(steps), sum(seconds(job, folder) for job in steps) / 60) for file, steps in rows],
        columns=list(MINUTES.columns),
    )
    write(table.round(2), TARGET, MINUTES)
    print(table.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
