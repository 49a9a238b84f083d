"""Jobs of a run that was killed alone end before the next run's begin; SIGTERM ends a run with its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from copies import Copy
from smoke import arguments, begin, left_behind, smoke, wait_for

from tilecast.base.run_lock import descendants

pytestmark = pytest.mark.slow

LABELS = "results/tidy/labels.csv"
COMMAND = ("--cores", "2", *arguments("results/patient.txt", LABELS, "--logger", "tilecast"))


def command(process: int) -> str:
    """The command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def jobs(run: int) -> set[int]:
    """The processes of a run's job `patient`: its shell and what that has started."""
    shells = {p for p in descendants(run) if "test -e go" in command(p)}
    return shells.union(*map(descendants, shells))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def started(copy: Copy) -> tuple[subprocess.Popen[str], set[int]]:
    """A run whose job `patient` is at work, and the processes of that job's shell."""
    run = begin(copy, *COMMAND)
    wait_for(lambda: jobs(run.pid))
    return run, {p for p in jobs(run.pid) if "bash" in command(p)}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="jobs are found in /proc")
def test_jobs_of_a_killed_run_never_live_beside_the_next_runs(tmp_path: Path) -> None:
    copy = smoke(tmp_path)
    first, old = started(copy)
    os.kill(first.pid, signal.SIGKILL)  # the run alone, as the kernel does when memory is short
    first.wait()
    assert old and all(map(alive, old))
    second = begin(copy, *COMMAND)
    new: set[int] = set()
    while not new:
        assert second.poll() is None
        new = jobs(second.pid)
        assert not (new and any(map(alive, old))), "two jobs beside each other"
        time.sleep(0.01)
    (copy.root / "go").touch()
    output = second.communicate()[0]
    assert second.returncode == 0, output
    assert output.count("tilecast: ended what the killed run had left at work (processes ") == 1
    assert all(str(process) in output for process in old)
    assert (copy.root / "results/patient.txt").read_text() == "done\n"


def test_a_job_of_python_holds_the_mark_and_is_ended(tmp_path: Path) -> None:
    """A script's job: its interpreter is stopped in the middle, so that it outlives its run for certain."""
    copy = smoke(tmp_path)
    first = begin(copy, "--cores", "1", *arguments(LABELS))

    def scripts() -> set[int]:
        return {p for p in descendants(first.pid) if ".snakemake/scripts" in command(p)}

    wait_for(lambda: any("bash" not in command(p) for p in scripts()))
    old = scripts()
    for process in old:
        os.kill(process, signal.SIGSTOP)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    run = copy.snakemake(*arguments(LABELS))
    assert "tilecast: ended what the killed run had left at work" in run.output
    assert not any(map(alive, old))
    assert left_behind(copy) == []


def test_sigterm_ends_a_run_at_once_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    copy = smoke(tmp_path)
    run, old = started(copy)
    os.kill(run.pid, signal.SIGTERM)
    asked = time.monotonic()
    output = run.communicate(timeout=60)[0]
    assert time.monotonic() - asked < 15  # the job itself would go on for ever
    assert run.returncode != 0
    assert output.count("tilecast: interrupted") == 1 and "Traceback" not in output, output
    assert not any(map(alive, old)) and left_behind(copy) == []
    assert not any((copy.root / ".snakemake/locks").glob("*"))
    (copy.root / "go").touch()
    again = subprocess.run(
        [sys.executable, "-m", "snakemake", *COMMAND],
        cwd=copy.root,
        env={**os.environ, **copy.environment},
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0, again.stderr
    assert "was killed" not in again.stderr and "had left at work" not in again.stderr
