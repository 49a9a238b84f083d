"""The section on experts: what it says from the stage's files, and that its tables say why a figure is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sections import write_experts

from tilecast.present.page.render import environment
from tilecast.present.page.results import Results
from tilecast.present.page.sections import moe

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experts(tmp_path_factory.mktemp("results"))


def rendered(folder: Path) -> str:
    results = Results(folder, [path for path in folder.rglob("*") if path.is_file()])
    assert results.missing(moe.NEEDS) == []
    engine = environment(ROOT / "report/templates")
    return engine.get_template("sections/moe.html").render(data=moe.context(results))


def test_the_section_counts_and_says_why(folder: Path) -> None:
    html = rendered(folder)
    assert "2 of 12 combinations of system and strategy hold all experts, 1 cannot run" in html
    assert "128 experts do not divide by ep 10" in html
    assert html.count("cannot run</td>") >= 5
    assert "nan" not in html.lower().replace("finance", "")
    assert "measured</span>" not in html  # nothing was measured in this folder


def test_what_was_measured_is_shown(folder: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "results"
    shutil.copytree(folder, root)
    shutil.copy(ROOT / "resources/measured/moe_overlap/cpu.csv", root / "moe/overlap_recorded.csv")
    assert "measured</span>" in rendered(root)
