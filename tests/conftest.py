"""What tests share: the repository, and copies of it to run the workflow in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from copies import ROOT, Copy, Run, copy_tree
from smoke import arguments, smoke


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the whole artifact where TILECAST_MIRROR does not say where it is."""
    if os.environ.get("TILECAST_MIRROR"):
        return
    for item in items:
        if item.get_closest_marker("artifact"):
            item.add_marker(pytest.mark.skip(reason="TILECAST_MIRROR is not set"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def workflow_copy(tmp_path: Path) -> Copy:
    """A fresh copy of the working tree, without results."""
    return copy_tree(tmp_path / "work tree")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy in which the workflow has run to its end; a test leaves it as it found it."""
    copy = copy_tree(tmp_path_factory.mktemp("finished") / "work tree")
    copy.snakemake()
    return copy


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Copy, Run]:
    """The smoke workflow, run to its end from nothing; a test leaves it as it found it."""
    copy = smoke(tmp_path_factory.mktemp("undisturbed"))
    return copy, copy.snakemake(*arguments())
