"""The page's section on locality, from the shipped record and a forecast made here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_results import declared
from small_sections import write_locality

from tilecast.present.page.render import environment
from tilecast.present.page.results import Results
from tilecast.present.page.sections.numa import NEEDS, context
from tilecast.tables.declared.locality import COMPARISON
from tilecast.tables.io import read, write


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_locality(tmp_path)


def rendered(root: Path, repository: Path) -> tuple[str, dict[str, Any]]:
    found = Results(root, declared(root))
    assert found.missing(NEEDS) == []
    data = context(found)
    return environment(repository / "report/templates").get_template("sections/numa.html").render(data=data), data


def test_a_host_that_cannot_test_says_so_and_shows_no_penalty(results: Path, repository: Path) -> None:
    page, data = rendered(results, repository)
    assert "<strong>not testable here: no GPU, one node</strong> (1 node, 0 GPUs)" in page
    assert "the CPU device, which stands in" in page and "Success rate: 100 % of 15 runs of 3 cells" in page
    assert [
        row["penalty_percent"] for row in data["measurements"][0]["compared"].rows if row["penalty_percent"] == 0
    ] == []
    assert page.count("not measured") >= 3 and "Not measured: the record shown holds no run on a GPU" in page
    assert "4 of the 8 numbers of runs it gives" in page
    assert "Load average of the machine meanwhile" in page


def test_a_host_that_can_is_shown_with_its_figures(results: Path, repository: Path) -> None:
    path = results / "numa/record/comparison.csv"
    frame = read(path, COMPARISON).head(1).assign(
        remote_node="1", n=5, penalty_percent=12.34, low_percent=-1.5, high_percent=26.2, p_value=0.04,
        verdict="no difference detected", reason=None,
    )  # fmt: skip
    write(frame, path, COMPARISON)
    page, _ = rendered(results, repository)
    assert "12.3" in page and "\u22121.5 to 26.2" in page and "no difference detected" in page


def test_the_newest_run_stands_beside_the_record(results: Path, repository: Path) -> None:
    page, data = rendered(results, repository)
    assert len(data["measurements"]) == 1 and "The newest run here" not in page
    shutil.copytree(results / "numa/record", results / "numa/newest")
    page, data = rendered(results, repository)
    assert [one["id"] for one in data["measurements"]] == ["record", "newest"]
    assert "The newest run here" in page and page.count("Success rate: 100 % of 15 runs of 3 cells") == 2
