"""What tests share: the repository, and copies of it to run the workflow in."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from copies import ROOT, Copy, copy_tree, literal

from tilecast.base import progress

progress.SILENT_S = 600.0  # or a busy machine says in a test's words that it is at work
LONGEST = 12  # files named at the end
# The files that take longest begin first, so that no process waits for another at the end; the second of them runs
# the whole workflow, on both cores, while those after it wait for SLURM's daemons.
FIRST = ("test_fuzz_parsers", "test_measure_workflow", "test_slurm", "test_crash", "test_conda", "test_locality",
         "test_staleness", "test_kubernetes", "test_check_results", "test_half_precision")  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; what needs the whole artifact is skipped where TILECAST_MIRROR names none."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
    for item in items:
        if item.get_closest_marker("artifact") and not os.environ.get("TILECAST_MIRROR"):
            item.add_marker(pytest.mark.skip(reason="TILECAST_MIRROR is not set"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time went: the files whose tests took longest, all processes together."""
    spent: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent[report.location[0]] += report.duration
    if len(spent) > 1:
        terminalreporter.section("where the time went")
        for file, seconds in spent.most_common(LONGEST):
            terminalreporter.write_line(f"{seconds:7.1f} s  {100 * seconds / spent.total():3.0f} %  {file}")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def workflow_copy(tmp_path: Path) -> Copy:
    """A fresh copy of the working tree, without results."""
    return copy_tree(tmp_path / "work tree")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder below which all processes of this run of the tests have theirs."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def run_to_its_end(copy: Copy, kept: str | None) -> None:
    """Run the workflow in a fresh copy; on what an earlier run made, where a folder keeps that."""
    made = [(Path(kept, name), copy.root / name) for name in ("results", ".snakemake")] if kept else []
    for old, new in made:
        if old.is_dir():
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
    copy.snakemake()
    for old, new in made:
        shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(new, old, symlinks=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process after the other."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def finished(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the workflow has run to its end, once for all processes; a test leaves it as it found it.

    TILECAST_FINISHED may name a folder that keeps what it made for the next time: then only what is stale runs.
    """
    whole = shared / "whole" / "work tree"
    with locked(shared / "whole.lock"):
        if not whole.is_dir():
            run_to_its_end(copy_tree(shared / "unfinished" / "work tree"), os.environ.get("TILECAST_FINISHED"))
            (shared / "unfinished").rename(shared / "whole")
    target = tmp_path_factory.mktemp("finished") / "work tree"
    shutil.copytree(whole, target, symlinks=True)
    return Copy(target)


@pytest.fixture(scope="session")
def undisturbed(shared: Path) -> tuple[Copy, float]:
    """The smoke workflow, run to its end from nothing, once for all processes, and the seconds that took."""
    tree, took = shared / "undisturbed", shared / "undisturbed.txt"
    with locked(shared / "undisturbed.lock"):
        if not took.exists():
            took.write_text(str(literal(tree).reproduce().seconds))
    return Copy(tree), float(took.read_text())
