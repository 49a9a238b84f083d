"""The page rendered from a small results folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_results import declared, write_results

from tilecast.present.page.page import ONE_FILE, render_pages
from tilecast.present.page.results import Results


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small results folder."""
    return write_results(tmp_path_factory.mktemp("small") / "results")


@pytest.fixture(scope="session")
def render(repository: Path, results_folder: Path) -> Callable[..., str]:
    """Render the report in one file from the small folder without the files whose names contain `without`."""

    def rendered(without: str = "no such name") -> str:
        files = [path for path in declared(results_folder) if without not in path.as_posix()]
        return render_pages(Results(results_folder, files), repository / "report", whole=True)[ONE_FILE]

    return rendered
