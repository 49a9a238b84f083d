"""`make reproduce`, the README's command, survives what happens to runs: signals, disks, clocks, surroundings.

It runs the smoke workflow, chosen by Snakemake's own variable SNAKEMAKE_PROFILE; nothing else is told to it.
"""

from __future__ import annotations

import os
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from copies import REPRODUCE, Copy, literal
from kills import EXCEPTION, kills, snakemake_in, survived
from smoke import left_behind, started, wait_for

pytestmark = pytest.mark.slow

Undisturbed = tuple[Copy, float]


FIRST = ("tidy_labels", "tidy_end_to_end")
MADE_FIRST = ("artifact", "tidy")


def until(copy: Copy, *rules: str, more: str = "") -> Copy:
    """The run ends with these rules, where a promise concerns its first jobs as much as all of them."""
    with (copy.root / "tests/support/smoke/config.yaml").open("a") as profile:
        profile.write(f"until: [{', '.join(rules)}]\n{more}")
    return copy


@pytest.mark.parametrize("count", [6, pytest.param(18, marks=pytest.mark.exhaustive)])
def test_killed_by_every_signal_and_given_again_it_ends_with_the_same_bytes(
    count: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """One run after another in the same folder is killed; `make kills` does more."""
    whole, seconds = undisturbed
    met = set()
    for outcome in survived(tmp_path, whole, seconds, kills(count, seed=10), small=True):
        met.add((outcome.kill.signal, outcome.kill.whom))
        assert outcome.same
        assert not EXCEPTION.findall(outcome.output), outcome.output
        asked = outcome.kill.signal != signal.SIGKILL
        assert outcome.output.count("tilecast: interrupted") == asked, outcome.output
        assert outcome.code != 0
    assert len(met) == 6


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
@pytest.mark.parametrize("moments", [2, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_a_disk_that_fills_up_is_one_line_and_the_run_goes_on_afterwards(
    moments: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Seeded sizes: the disk is full at several moments of the same run, which goes on when there is room."""
    whole, _ = undisturbed
    copy = literal(tmp_path / "tree")
    needed = sum(len(data) for data in whole.results().values())
    draw = random.Random(12)
    with disk(copy.root / "results", "16k"):
        for size in sorted(draw.uniform(0.02, 0.9) * needed / 1024 for _ in range(moments)):
            remount(copy.root / "results", f"size={int(size) + 8}k")
            run = copy.reproduce(fails=True)
            said = [line for line in run.output.splitlines() if line.startswith("tilecast: error: ")]
            assert said, run.output
            assert all("No space left on device" in line for line in said)
            assert "Traceback" not in run.output
            assert left_behind(copy) == []
            there = copy.results()
            assert there == {name: whole.results()[name] for name in there}  # whole, or not there
        remount(copy.root / "results", "size=100m")
        copy.reproduce()
        assert copy.results() == whole.results()


@needs_root
def test_results_that_are_read_only_end_the_run_and_stay(undisturbed: Undisturbed, tmp_path: Path) -> None:
    whole, _ = undisturbed
    copy = until(literal(tmp_path / "tree"), "evaluate_mape")
    with disk(copy.root / "results", "100m"):
        for name, data in whole.results(*MADE_FIRST).items():
            path = copy.root / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        before = copy.results()
        remount(copy.root / "results", "ro")
        run = copy.reproduce(fails=True)
        assert "Read-only file system" in run.output
        assert copy.results() == before
        remount(copy.root / "results", "rw")
        copy.reproduce()
        assert copy.results() == whole.results(*MADE_FIRST, "evaluation")


def test_a_clock_set_back_by_an_hour_is_told_and_changes_no_byte(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """What was made before the change lies an hour ahead: nothing is built on it until the dates are right."""
    whole, _ = undisturbed
    copy = until(literal(tmp_path / "tree"), "table_mape")
    for name, data in whole.results(*MADE_FIRST, "evaluation").items():
        path = copy.root / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for path in (copy.root / "results").rglob("*"):
        os.utime(path, (path.stat().st_atime + 3600, path.stat().st_mtime + 3600))
    run = copy.reproduce(fails=True)
    assert "clock skew" in run.output
    assert not any((copy.root / "results/tables").glob("*"))
    for path in (copy.root / "results").rglob("*"):
        path.touch()
    copy.reproduce()
    assert copy.results() == whole.results(*MADE_FIRST, "evaluation", "tables")


def test_of_two_runs_at_once_the_second_says_so_and_the_first_ends_well(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """The first is stopped while the second looks."""
    whole, _ = undisturbed
    copy = until(literal(tmp_path / "tree"), *FIRST)
    with (copy.root / "said.txt").open("w") as output:
        first = started(copy, REPRODUCE, output)
    wait_for(lambda: any((copy.root / ".snakemake/locks").glob("*")))
    run = snakemake_in(first.pid)
    assert run
    os.killpg(first.pid, signal.SIGSTOP)
    second = copy.reproduce(fails=True).output.strip().splitlines()
    os.killpg(first.pid, signal.SIGCONT)
    named = f"a run (process {run.pid} on {platform.node()})"
    told = f"tilecast: {named} is at work in this folder; wait for it, or end it"
    assert second.index("Directory cannot be locked.") == second.index(told) + 1
    assert any(re.match(r"make(\[\d+\])?: \*\*\*", line) for line in second)  # of a make within a make too
    assert first.wait() == 0, (copy.root / "said.txt").read_text()
    assert copy.results() == whole.results(*MADE_FIRST)


def test_without_home_temporary_folder_and_rights_for_others(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """As a service starts it: no HOME, no TMPDIR, no language, umask 077."""
    copy = literal(
        tmp_path / "tree", HOME="", TMPDIR="", LANG="", LC_ALL="", USER="", LOGNAME="", XDG_CACHE_HOME=""
    )
    copy.run(["sh", "-c", 'umask 077; exec "$@"', "sh", *REPRODUCE])
    assert copy.results() == undisturbed[0].results()
    assert (copy.root / "results/tables/mape.csv").stat().st_mode & 0o077 == 0


def asking_git(tmp_path: Path, **environment: str) -> Copy:
    """A copy whose artifact would come by git, from a server of this name, within seconds."""
    chosen = "sources: [git, published], repository: http://artifact.invalid/x.git, timeout_s: 3, attempts: 1"
    copy = literal(tmp_path / "tree", **environment)
    return until(copy, *FIRST, more=f'config:\n  - "artifact={{{chosen}}}"\n')


def without_source(copy: Copy) -> dict[str, bytes]:
    """The first results, but the record of where the artifact came from."""
    return {name: data for name, data in copy.results(*MADE_FIRST).items() if name != "artifact/source.json"}


@needs_root
def test_without_a_network_the_transcribed_figures_serve(undisturbed: Undisturbed, tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace can be made here")
    copy = asking_git(tmp_path)
    run = copy.run(["unshare", "--net", *REPRODUCE])
    assert not EXCEPTION.findall(run.output)
    assert without_source(copy) == without_source(undisturbed[0])
    assert "artifact.invalid cannot be reached" in (copy.root / "results/logs/fetch_artifact.log").read_text()


def test_a_proxy_that_never_answers_is_waited_for_no_longer_than_said(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        copy = asking_git(tmp_path, http_proxy=proxy, https_proxy=proxy, all_proxy=proxy, no_proxy="")
        copy.reproduce()
    assert without_source(copy) == without_source(undisturbed[0])
    assert "did not end within 3 s" in (copy.root / "results/logs/fetch_artifact.log").read_text()


@needs_root
def test_in_the_folder_of_another_user_nothing_is_made(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A user without root's powers: a line where the files are somebody else's, else the same bytes."""
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    if subprocess.run([*plain, "true"], capture_output=True).returncode:
        pytest.skip("root's powers cannot be laid down here")
    copy = until(literal(tmp_path / "tree"), *FIRST)

    def give(user: int) -> None:
        for path in [copy.root, *copy.root.rglob("*")]:
            os.chown(path, user, user, follow_symlinks=False)

    give(65534)
    run = copy.run([*plain, *REPRODUCE], fails=True)
    said = f"tilecast: error: {copy.root}: Permission denied: run in a folder in which you may write"
    assert said in run.output.splitlines()
    assert "Traceback" not in run.output, run.output
    assert copy.results() == {}
    give(0)
    copy.run([*plain, *REPRODUCE])
    assert copy.results() == undisturbed[0].results(*MADE_FIRST)
