"""Every text that a table of any section can carry, one column at a time, stays text in the page."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_measured import write_measured
from small_results import declared, write_results
from test_locality_section import results as locality  # noqa: F401 (a fixture)
from test_moe_section import folder as experts  # noqa: F401
from test_parallel_section import root as several  # noqa: F401

from tilecast.base.errors import TilecastError
from tilecast.present.page.page import SECTIONS
from tilecast.present.page.render import environment
from tilecast.present.page.results import Results

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "\"'><script>window.hacked=1</script><img src=x onerror=hack()>{{ 7 * 7 }}${7}</style>]]>"
RAW = re.compile(r"<script>window|<img src=x|</style>\]|\"'>")
SHOWN = "&lt;script&gt;window.hacked=1"
ABOUT = {"title": "A finding", "caption": "What is shown.", "alt": "Words instead.", "n": 3, "reason": ""}
MODERN: dict[str, list[dict[str, Any]]] = {
    "protocol": [
        {"kind": kind, "generation": "Hopper", "device": "H100", "family": family, "dtype": "bf16", "n": 5,
         "predictor": "tilecast", "mape_long_percent": 5.0, "mape_percent": 6.0, "ratio_median": 1.0,
         "inside_percent": 80.0, "mape_with_flagged_percent": 7.0}
        for kind in ("left out", "forward") for family in ("gemm", "decode")
    ],
    "serving_errors": [
        {"left_out": True, "kind": "dense", "device": device, "framework": "all", "n": 4,
         "tpot_median_percent": 9.0, "ttft_median_percent": 19.0, "tpot_ratio": 1.0, "ttft_ratio": 1.1}
        for device in ("all", "NVIDIA_H200")
    ],
    "sample": [{"device": "NVIDIA_H100_80GB_HBM3", "n": 9, "mape_percent": 6.0}],
    "noise": [{"device": "NVIDIA_H100_80GB_HBM3", "family": "gemm", "dtype": "bf16", "n": 9, "rows": 10,
               "duplicates": 1, "slow_path": 0, "flagged": 1, "duplicates_and_slow_paths": 1, "mean_percent": 3.0,
               "p90_percent": 5.0}],
    "anchor": [{"forecaster": "the publisher", "n": 4, "tpot_median_percent": 9.0, "ttft_median_percent": 19.0,
                "tpot_ratio": 1.0, "ttft_ratio": 1.1}],
}  # fmt: skip


@pytest.fixture
def modern(tmp_path: Path) -> Path:
    """What the stage on modern GPUs leaves, small."""
    for name, rows in MODERN.items():
        path = tmp_path / f"modern/{name}.csv"
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame(rows).to_csv(path, index=False)
    source = {"available": True, "package": "p", "version": "1", "sha256": "a" * 64, "bytes": 9}
    (tmp_path / "modern/source.json").write_text(json.dumps(source))
    return tmp_path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Measurements and scenarios."""
    (tmp_path / "figures").mkdir()
    write_measured(tmp_path, "plain")
    return tmp_path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """What the sections on the artifact read."""
    return write_results(tmp_path / "results")


# slug -> (fixture, columns that at least have to reach the page)
CASES = {
    "claims": ("first", 4), "errors": ("first", 2), "predictors": ("first", 3), "graphs": ("first", 1),
    "defects": ("first", 2), "provenance": ("first", 1), "tables": ("first", 2), "figures": ("first", 2),
    "parallel": ("several", 8), "modern": ("modern", 3), "moe": ("experts", 5), "numa": ("locality", 5),
    "machine": ("measured", 4), "scenarios": ("measured", 3),
}  # fmt: skip
STAGES = ("parallel", "modern", "moe", "numa")  # which show figures of their own, after their name


def test_every_section_is_tried() -> None:
    assert set(CASES) == {section.slug for section in SECTIONS}


def _strings(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a text in JSON: what holds it, and its key there."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(inner, str):
            yield value, key
        elif isinstance(inner, dict | list):
            yield from _strings(inner)


class Watched(Results):
    """Results that remember which files were asked for."""

    asked: set[Path]

    def path(self, name: str) -> Path | None:
        found = super().path(name)
        self.asked = getattr(self, "asked", set()) | ({found} if found else set())
        return found


def poisoned(root: Path, files: Iterable[Path]) -> Iterator[str]:
    """Put HOSTILE behind every text of a column, and behind every text in JSON, one after the other."""
    for path in sorted(files):
        before = path.read_bytes()
        if path.suffix == ".csv" and before.strip():
            frame = pd.read_csv(path)
            for column in frame.columns:
                if not pd.api.types.is_numeric_dtype(frame[column]) and frame[column].notna().any():
                    text = frame[column].map(lambda words: words if words != words else f"{words}{HOSTILE}")
                    frame.assign(**{column: text}).to_csv(path, index=False)
                    yield f"{path.relative_to(root)}: {column}"
        elif path.suffix == ".json":
            for number in range(len(list(_strings(json.loads(before))))):
                content = json.loads(before)
                holder, key = list(_strings(content))[number]
                holder[key] += HOSTILE
                path.write_text(json.dumps(content))
                yield f"{path.relative_to(root)}: {key}"
        path.write_bytes(before)


@pytest.mark.parametrize("slug", CASES)
def test_a_text_stays_a_text(slug: str, request: pytest.FixtureRequest, tmp_path_factory: Any) -> None:
    fixture, least = CASES[slug]
    root = tmp_path_factory.mktemp("poisoned") / "results"
    shutil.copytree(request.getfixturevalue(fixture), root)
    if slug in STAGES:
        (root / "figures").mkdir(exist_ok=True)
        (root / f"figures/{slug}_one.json").write_text(json.dumps(ABOUT))
        (root / f"figures/{slug}_one.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (root / f"figures/{slug}_one.csv").write_text("a\n1\n")
    section = next(section for section in SECTIONS if section.slug == slug)
    template = environment(ROOT / "report/templates").get_template(f"sections/{slug}.html")

    def page() -> str:
        return template.render(data=section.context(Results(root, declared(root))))

    assert not RAW.search(page())
    watched = Watched(root, declared(root))
    section.context(watched)
    reached = []
    for place in poisoned(root, watched.asked):
        try:
            html = page()
        except (TilecastError, LookupError, ValueError, TypeError, StopIteration):
            continue  # a name by which something is looked up, or a value that the schema refuses
        assert not RAW.search(html), place
        assert "49$" not in html, f"{place}: rendered as a template"
        if SHOWN in html:
            reached.append(place)
    assert len(reached) >= least, reached


def calls(folder: str, of: Callable[[ast.Call], bool]) -> list[str]:
    """Files below a folder that make a call of a kind."""
    return [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if any(isinstance(node, ast.Call) and of(node) for node in ast.walk(ast.parse(path.read_text())))
    ]


def test_what_could_let_markup_through_is_in_few_places() -> None:
    """Of these each was looked at: a new one has to be."""

    def named(word: str) -> Callable[[ast.Call], bool]:
        return lambda call: word == getattr(call.func, "id", getattr(call.func, "attr", ""))

    package = "src/tilecast"
    assert calls(package, named("Markup")) == [
        f"{package}/present/page/render.py",  # the project's own style and script
        f"{package}/present/page/results.py",  # a drawing, percent-encoded
        f"{package}/present/page/sections/paper_tables.py",  # a table that present.paper.render escaped
    ]
    assert calls(package, named("Environment")) == [f"{package}/moe/text.py", f"{package}/present/page/render.py"]
    assert calls(package, named("savefig")) == [f"{package}/present/figures/style.py"]
    for path in sorted((ROOT / "report/templates").rglob("*.html")):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text()), path


def test_captions_hold_no_text_of_tables() -> None:
    """They are shown as they are, so nothing may be filled in but the configuration's own words."""
    for path in sorted((ROOT / "report/captions").glob("*.rst")):
        filled = set(re.findall(r"\{\{(.*?)\}\}", path.read_text()))
        assert all(words.strip().startswith("snakemake.") for words in filled), (path, filled)


def test_a_study_in_words_is_text_in_markdown_and_latex() -> None:
    from tilecast.moe.study import load_study
    from tilecast.moe.tables import systems_table
    from tilecast.moe.text import paragraph, summary

    study = load_study(ROOT / "config/studies/moe_prefetch.yaml")
    table = systems_table(study)
    name = study.systems[0].name
    words = summary(table.assign(reason=HOSTILE), name)
    assert "<" not in words and "&lt;script>" in words
    errors = pd.DataFrame([{"links": "NVLink", "kernel": "all", "sizes": "in use", "mape_percent": 5.0}])
    renamed = table.assign(system=table["system"].replace({study.focus: "a_b"}))
    assert r"on a\_b" in paragraph(ROOT / "report/paper/moe.tex.j2", renamed, errors, "a_b")
