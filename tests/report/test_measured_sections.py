"""The sections on this machine and on scenarios: what was measured, what failed, and what is not known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_measured import write_measured
from small_results import HOSTILE, declared

from tilecast.present.page.page import render_pages
from tilecast.present.page.results import Results


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "results"
    (folder / "figures").mkdir(parents=True)
    write_measured(folder, HOSTILE)
    return folder


@pytest.fixture(scope="module")
def render(root: Path, repository: Path) -> Callable[[], dict[str, str]]:
    def rendered() -> dict[str, str]:
        page = render_pages(Results(root, declared(root)), repository / "report")["machine"]
        assert HOSTILE not in page
        return dict(re.findall(r'<section id="([\w-]+)"(.*?)</section>', page, re.S))

    return rendered


def test_a_page_without_gpus_says_they_were_not_measured(render: Callable[[], dict[str, str]]) -> None:
    section = render()["machine"]
    assert "GPUs: not measured" in section
    overall = section.split('id="live-overall"')[1].split("</table>")[0]
    assert 'data-value="20.0"' in overall and 'data-value="8"' in overall
    assert "Figure L1." in section
    assert "not timed" in section and "&lt;script&gt;" in section


def test_what_a_campaign_settles_has_a_table_each(render: Callable[[], dict[str, str]]) -> None:
    section = render()["machine"]
    assert section.count('id="settled-') == 3 and "refuted" in section and "0.85" in section


def test_without_measurements_the_page_has_no_section_on_this_machine(root: Path, repository: Path) -> None:
    lacking = [path for path in declared(root) if path.name != "machines.json"]
    page = render_pages(Results(root, lacking), repository / "report")["machine"]
    assert 'id="machine"' not in page and 'id="scenarios"' in page and "#machine" not in page


def test_every_scenario_counts_and_what_nobody_measured_is_named(render: Callable[[], dict[str, str]]) -> None:
    section = render()["scenarios"]
    assert "2 scenarios" in section and "1 cannot be run as described and count as failed" in section
    assert "no ground truth" in section and "9 to 11" in section


def test_nothing_measured_is_said(root: Path, render: Callable[[], dict[str, str]]) -> None:
    path = root / "measure/machines.json"
    before = path.read_text()
    path.write_text(json.dumps({"machines": []}))
    try:
        assert "Nothing was measured" in render()["machine"]
    finally:
        path.write_text(before)
