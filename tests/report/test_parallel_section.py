"""The multi-GPU section: verdicts follow the goals, what is absent is said to be so, the record is shown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_results import anew
from small_sections import write_multigpu
from small_tables import write_rows

from tilecast.base.errors import InputError
from tilecast.present.page.page import SECTIONS, filled
from tilecast.present.page.render import environment
from tilecast.present.page.results import Results
from tilecast.present.page.sections import parallel
from tilecast.tables.declared.half_precision import SERVING

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_multigpu(tmp_path)


def verdicts(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    rows = parallel.context(Results(root, files))["scores"].rows
    return {row["suite"]: row["verdict"] for row in rows}


def test_verdicts_follow_the_goals(root: Path) -> None:
    found = list(verdicts(root).values())
    assert found[:5] == ["met", "missed", "no goal", "met", "missed"]
    assert "not produced in this run" in found[5] and len(found) == 6


def test_serving_points_are_weighed_where_they_are(root: Path) -> None:
    points = [
        {"point": point, "left_out": out, "kind": kind, "tpot_ms": tpot_ms, "ttft_ms": ttft_ms}
        for point, out, kind, tpot_ms, ttft_ms in (
            ("a", True, "dense", 11.0, 14.0),
            ("b", True, "dense", 11.0, 16.0),
            ("c", True, "mixture", 90.0, 90.0),
            ("a", False, "dense", 90.0, 90.0),
        )
    ]
    measured = {"measured_tpot_ms": 10.0, "measured_ttft_ms": 10.0}
    write_rows(root / "modern/serving.csv", SERVING, *(point | measured for point in points))
    found = verdicts(root)
    assert found["(d) Serving points of modern GPUs, time per output token"] == "met: median 10.0 %"
    assert found["(d) Serving points of modern GPUs, time to first token"] == "missed: median 50.0 %"


def test_the_section_shows_the_examples(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file()]
    data = parallel.context(Results(root, files))
    page = environment(ROOT / "report/templates").get_template("sections/parallel.html").render(data=data)
    for words in ("GPT-3 175B on 1,024 H100", "Llama-2-70B on 4 A100", "Why not other", "no price", "predicted"):
        assert words in page
    assert all(row["reserved_usd"] is None or "nan" not in row["reserved_usd"] for row in data["costs"].rows)
    held = data["stages"]["table"].rows
    assert (
        len(held) == 8 and held[0]["fits"] == "fits, the fullest" and {row["fits"] for row in held[1:]} == {"fits"}
    )
    assert page.count("<table") == 9


def test_a_column_changed_by_hand_is_one_line_never_a_traceback(root: Path) -> None:
    """Every column of every table, emptied one at a time: the page shows it, or says what does not fit."""
    section = next(one for one in SECTIONS if one.slug == "parallel")
    files = [path for path in root.rglob("*") if path.is_file()]
    sound = Results(root, files)
    filled(section, sound)
    refused = []
    for path in (file for file in files if file.suffix == ".csv"):
        original = path.read_text()
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in table.columns:
            table.assign(**{column: ""}).to_csv(path, index=False)
            try:
                filled(section, anew(sound, path.relative_to(root).as_posix()))
            except InputError as error:
                refused.append(str(error))
        path.write_text(original)
    assert any(line.startswith("section Multi-GPU: what its tables hold does not fit") for line in refused)
    assert all(len(line.splitlines()) == 1 for line in refused)
