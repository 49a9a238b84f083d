"""A killed run's lock is taken off; a living run's, another machine's and a cluster's are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import ROOT

HOLD = """
import sys
from pathlib import Path
from tilecast.base.run_lock import claim
print(claim(Path(sys.argv[1]), cluster=sys.argv[2] == "cluster"), flush=True)
sys.stdin.read()
"""


class Other:
    """Another process that claims a folder until it is killed."""

    def __init__(self, folder: Path, where: str = "here") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), where],
            env={"PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Snakemake's folder, as it is before a first run."""
    yield tmp_path / ".snakemake"


def lock(folder: Path) -> list[Path]:
    """What Snakemake leaves while it runs."""
    files = [folder / "locks" / f"0.{kind}.lock" for kind in ("input", "output")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("results/x\n")
    return files


def test_the_lock_of_a_killed_run_is_taken_off(folder: Path) -> None:
    first = Other(folder)
    files = lock(folder)
    first.kill()
    second = Other(folder)
    assert second.said.startswith(f"a run (process {first.process.pid} on ") and "was killed" in second.said
    assert not any(file.exists() for file in files)
    second.kill()
    third = Other(folder)
    assert third.said == "None"
    third.kill()


def test_the_lock_of_a_living_run_stays(folder: Path) -> None:
    first = Other(folder)
    files = lock(folder)
    second = Other(folder)
    assert f"process {first.process.pid} on" in second.said and "is at work" in second.said
    assert all(file.exists() for file in files)
    first.kill()
    third = Other(folder)  # the second lives: which of the two left the lock cannot be told
    assert "is at work" in third.said and all(file.exists() for file in files)
    second.kill()
    third.kill()
    last = Other(folder)
    assert "was killed" in last.said and not any(file.exists() for file in files)
    last.kill()


@pytest.mark.parametrize("change", [{"host": "another"}, {"cluster": True}, None])
def test_a_lock_that_may_be_in_use_elsewhere_stays(folder: Path, change: dict[str, object] | None) -> None:
    Other(folder).kill()
    record = folder / "tilecast-run.json"
    if change is None:
        record.unlink()
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | change))
    files = lock(folder)
    other = Other(folder)
    other.kill()
    assert "snakemake --unlock" in other.said
    assert all(file.exists() for file in files)
    for file in files:
        file.unlink()
    other = Other(folder)
    assert other.said == "None"  # and what it wrote down is its own
    other.kill()
    assert json.loads(record.read_text())["process"] == other.process.pid


def test_where_nothing_can_be_written_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    other = Other(tmp_path / "file" / ".snakemake")
    assert other.said == "None"
    other.kill()
