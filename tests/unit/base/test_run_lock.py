"""A killed run's lock is taken off; a living run's, another machine's and a cluster's are not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from copies import ROOT
from smoke import wait_for

from tilecast.base.run_lock import HOLD

HELD = """
import sys
from pathlib import Path
from tilecast.base.run_lock import claim, end_orphans
print(claim(Path(sys.argv[1]), cluster=sys.argv[2] == "cluster"), flush=True)
print(end_orphans(Path(sys.argv[1])) if sys.argv[2] != "cluster" else "", flush=True)
sys.stdin.read()
"""


class Other:
    """Another process that claims a folder until it is killed."""

    def __init__(self, folder: Path, where: str = "here") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HELD, str(folder), where],
            env={"PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.said, self.ended = (self.process.stdout.readline().strip() for _ in range(2))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Snakemake's folder, as it is before a first run."""
    yield tmp_path / ".snakemake"


def job(folder: Path, command: str = "sleep 600") -> subprocess.Popen[bytes]:
    """A job as Snakemake starts one in this folder, no open file of ours handed on."""
    started = subprocess.Popen(["bash", "-c", f"{HOLD} touch started; {command}; true"], cwd=folder.parent)
    wait_for((folder.parent / "started").exists)
    (folder.parent / "started").unlink()
    return started


@pytest.mark.slow
def test_jobs_of_a_killed_run_are_ended(folder: Path) -> None:
    first = Other(folder)
    mild, stubborn = job(folder), job(folder, "trap '' TERM; while :; do sleep 0.1; done")
    first.kill()
    second = Other(folder)
    assert "was killed" in second.said and "ended what the killed run had left at work" in second.ended
    assert all(str(process.pid) in second.ended for process in (mild, stubborn))
    assert (mild.wait(), stubborn.wait()) == (-signal.SIGTERM, -signal.SIGKILL)
    second.kill()


@pytest.mark.parametrize("change", [{"host": "another"}, {"cluster": True}])
def test_jobs_that_may_outlive_their_run_are_left_alone(folder: Path, change: dict[str, object]) -> None:
    Other(folder).kill()
    record = folder / "tilecast-run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | change))
    process = job(folder)
    other = Other(folder)
    assert other.ended == "None" and process.poll() is None
    other.kill()
    process.kill()
    process.wait()


def test_jobs_of_a_living_run_are_left_alone(folder: Path) -> None:
    first = Other(folder)
    process = job(folder)
    second = Other(folder)
    assert second.ended == "None" and process.poll() is None
    second.kill()
    first.kill()
    process.kill()
    process.wait()


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
