"""The smoke workflow survives what happens to runs: kills, Ctrl-C, full and read-only disks, clocks set back."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from copies import Copy, Run
from smoke import arguments, begin, killed_after, left_behind, moments, smoke, wait_for

pytestmark = pytest.mark.slow

Undisturbed = tuple[Copy, Run]


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_killed_at_many_moments_and_resumed_gives_the_same_bytes(
    kills: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Each run takes off the killed one's lock and goes on where it stood; after one that ends, all is anew."""
    whole, run = undisturbed
    copies = [smoke(tmp_path / "0")]
    killed, unlocked, met = 0, 0, set()
    for seconds in moments(4 * kills, seed=10, duration=0.7 * run.seconds):
        if killed == kills:
            break
        code, output = killed_after(copies[-1], seconds)
        killed += code == -signal.SIGKILL
        unlocked += "was killed; this one goes on from there" in output
        met |= set(re.findall(r"^(?:local)?rule (\w+):$", output, re.MULTILINE))
        if code != -signal.SIGKILL:
            assert code == 0, output
            copies.append(smoke(tmp_path / str(len(copies))))
    copies[-1].snakemake(*arguments())
    for copy in copies:
        assert copy.results() == whole.results()
        assert left_behind(copy) == []
    assert copies[-1].snakemake("--dry-run", *arguments()).rules == set()
    print(
        f"{killed} runs killed, {len(copies) - 1} ended before; {unlocked} locks taken off; begun: {sorted(met)}"
    )
    assert killed == kills
    assert unlocked
    assert len(met) >= 3


@pytest.mark.parametrize("seconds", moments(2, seed=11, duration=1.0))
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(
    seconds: float, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Within a second after the first tables are there: errors are computed, or figures drawn, just then.

    Between two jobs Snakemake can miss a signal and go on to the end: then once more.
    """
    whole, _ = undisturbed
    for attempt in range(4):
        copy = smoke(tmp_path / str(attempt))
        process = begin(copy, "--cores", "2", *arguments())
        wait_for((copy.root / "results/tidy/labels.csv").exists)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate()
        if process.returncode != 0:
            break
    assert process.returncode != 0
    assert output.count("tilecast: interrupted") == 1, output
    assert "Traceback" not in output
    assert left_behind(copy) == []
    assert not any((copy.root / ".snakemake/locks").glob("*"))
    copy.snakemake(*arguments())
    assert copy.results() == whole.results()


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tilecast-test", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here ({mounted.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")


@needs_root
def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_afterwards(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Three seeded sizes: the disk is full at three moments of the same run, which goes on when there is room."""
    whole, _ = undisturbed
    copy = smoke(tmp_path)
    needed = sum(len(data) for data in whole.results().values())
    with disk(copy.root / "results", "16k"):
        for size in sorted(moments(3, seed=12, duration=0.9 * needed / 1024)):
            remount(copy.root / "results", f"size={int(size) + 8}k")
            run = copy.snakemake(*arguments(), fails=True)
            said = [line for line in run.output.splitlines() if line.startswith("tilecast: error: ")]
            assert said, run.output
            assert all("No space left on device" in line for line in said)
            assert "Traceback" not in run.output
            assert left_behind(copy) == []
            there = copy.results()
            assert there == {name: whole.results()[name] for name in there}  # whole, or not there
        remount(copy.root / "results", "size=100m")
        copy.snakemake(*arguments())
        assert copy.results() == whole.results()


@needs_root
def test_results_that_are_read_only_end_the_run_and_stay(undisturbed: Undisturbed, tmp_path: Path) -> None:
    whole, _ = undisturbed
    copy = smoke(tmp_path)
    with disk(copy.root / "results", "100m"):
        for name, data in whole.results("artifact", "tidy").items():
            path = copy.root / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        before = copy.results()
        remount(copy.root / "results", "ro")
        run = copy.snakemake(*arguments(), fails=True)
        assert "Read-only file system" in run.output
        assert copy.results() == before
        remount(copy.root / "results", "rw")
        copy.snakemake(*arguments())
        assert copy.results() == whole.results()


def test_a_clock_set_back_by_an_hour_is_told_and_changes_no_byte(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """What was made before the change lies an hour ahead: nothing is built on it until the dates are right."""
    whole, _ = undisturbed
    copy = smoke(tmp_path)
    copy.snakemake(*arguments("results/evaluation/errors.csv"))
    for path in (copy.root / "results").rglob("*"):
        os.utime(path, (path.stat().st_atime + 3600, path.stat().st_mtime + 3600))
    run = copy.snakemake(*arguments(), fails=True)
    assert "clock skew" in run.output
    assert not any((copy.root / "results/figures").glob("*"))
    for path in (copy.root / "results").rglob("*"):
        path.touch()
    copy.snakemake(*arguments())
    assert copy.results() == whole.results()


def test_of_two_runs_at_once_the_second_says_so_and_the_first_ends_well(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    whole, _ = undisturbed
    copy = smoke(tmp_path)
    first = begin(copy, "--cores", "2", *arguments("smoke", "results/patient.txt"))  # as long as is needed
    wait_for(lambda: any((copy.root / ".snakemake/locks").glob("*")))
    plain = copy.snakemake(*arguments(), fails=True).output
    short = copy.snakemake(*arguments("--logger", "tilecast"), fails=True).output.strip().splitlines()
    (copy.root / "go").touch()
    output, _ = first.communicate()
    named = f"a run (process {first.pid} on {platform.node()})"
    line = f"tilecast: {named} is at work in this folder; wait for it, or end it"
    assert plain.splitlines().count(line) == 1
    assert "Traceback" not in plain
    assert short[-2:] == [line, "Directory cannot be locked."]
    assert first.returncode == 0, output
    assert copy.results() == whole.results() | {"patient.txt": b"done\n"}
