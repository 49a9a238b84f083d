"""The section on experts: what it says from the stage's files, and that its tables say why a figure is missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tilecast.moe.study import load_study
from tilecast.moe.tables import layouts_table, models_table, systems_table
from tilecast.present.page.render import environment
from tilecast.present.page.results import Results
from tilecast.present.page.sections import moe
from tilecast.tables.declared.moe import ALLTOALL_ERRORS, ANCHORS, GAINS, LAYOUTS, MODELS, SYSTEMS
from tilecast.tables.io import write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    study = load_study(ROOT / "config/studies/moe_prefetch.yaml")
    write(systems_table(study), root / moe.SYSTEMS, SYSTEMS)
    write(models_table(study), root / "moe/models.csv", MODELS)
    write(layouts_table(study), root / "moe/layouts.csv", LAYOUTS)
    error = {"links": "NVLink", "kernel": "all", "sizes": "all", "n": 5, "mape_percent": 5.0, "worst_percent": 9.0}
    write(pd.DataFrame([error]), root / "moe/alltoall_errors.csv", ALLTOALL_ERRORS)
    anchor = {
        "source": "a paper", "gpu": "A5000", "model": "Mixtral", "method": "prefetching", "measured_ms": 735.0,
        "fastest_ms": 700.0, "slowest_ms": 740.0, "measured_over_model": 1.0, "placement": "fits",
    }  # fmt: skip
    write(pd.DataFrame([anchor]), root / "moe/anchors.csv", ANCHORS)
    gain = {
        "source": "a paper",
        "what": "all",
        "gain": 2.5,
        "largest_gain": 2.0,
        "overlap_alone_can_give_it": False,
    }
    write(pd.DataFrame([gain]), root / "moe/gains.csv", GAINS)
    return root


def rendered(folder: Path) -> str:
    results = Results(folder, [path for path in folder.rglob("*") if path.is_file()])
    assert results.missing(moe.NEEDS) == []
    engine = environment(ROOT / "report/templates")
    return engine.get_template("sections/moe.html").render(data=moe.context(results))


def test_the_section_counts_and_says_why(folder: Path) -> None:
    html = rendered(folder)
    assert "2 of 12 combinations of system and strategy hold all experts, 1 cannot run" in html
    assert "128 experts on 10 GPUs are 12.8 each, no whole number" in html
    assert html.count("cannot run</td>") >= 5
    assert "nan" not in html.lower().replace("finance", "")
    assert "measured</span>" not in html  # nothing was measured in this folder


def test_what_was_measured_is_shown(folder: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "results"
    shutil.copytree(folder, root)
    shutil.copy(ROOT / "resources/measured/moe_overlap/cpu.csv", root / "moe/overlap_recorded.csv")
    assert "measured</span>" in rendered(root)
