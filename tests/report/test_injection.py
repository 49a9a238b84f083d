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
from small_results import anew, declared, write_results
from small_sections import write_experts, write_half_precision, write_locality, write_multigpu

from tilecast.base.errors import TilecastError
from tilecast.present.page.page import SECTIONS
from tilecast.present.page.render import environment
from tilecast.present.page.results import Results

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "\"'><script>window.hacked=1</script><img src=x onerror=hack()>{{ 7 * 7 }}${7}</style>]]>"
RAW = re.compile(r"<script>window|<img src=x|</style>\]|\"'>")
SHOWN = "&lt;script&gt;window.hacked=1"
ABOUT = {"title": "A finding", "caption": "What is shown.", "alt": "Words instead.", "n": 3, "reason": ""}


# slug -> (what writes the files, columns that at least have to reach the page)
CASES: dict[str, tuple[Callable[[Path], Any], int]] = {
    "summary": (write_results, 1),
    "claims": (write_results, 4),
    "study-claims": (write_results, 4),
    "summaries": (write_results, 1),
    "accuracy": (write_results, 0),
    "glossary": (write_results, 0),
    "defect-list": (write_results, 2),
    "errors": (write_results, 2),
    "predictors": (write_results, 3),
    "graphs": (write_results, 1),
    "defects": (write_results, 2),
    "provenance": (write_results, 1),
    "tables": (write_results, 0),  # its fragments are made by present.paper, which escapes
    "figures": (write_results, 2),
    "parallel": (write_multigpu, 8),
    "modern": (write_half_precision, 3),
    "moe": (write_experts, 5),
    "numa": (write_locality, 5),
    "machine": (write_measured, 4),
    "scenarios": (write_measured, 3),
}
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

    asked: frozenset[Path] = frozenset()

    def path(self, name: str) -> Path | None:
        found = super().path(name)
        self.asked |= {found} if found else set()
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
def test_a_text_stays_a_text(slug: str, results_folder: Path, tmp_path: Path) -> None:
    write_files, least = CASES[slug]
    root = tmp_path / "results"
    if write_files is write_results:
        shutil.copytree(results_folder, root)
    else:
        (root / "figures").mkdir(parents=True)
        write_files(root)
    if slug in STAGES:
        (root / f"figures/{slug}_one.json").write_text(json.dumps(ABOUT))
        (root / f"figures/{slug}_one.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (root / f"figures/{slug}_one.csv").write_text("a\n1\n")
    section = next(section for section in SECTIONS if section.slug == slug)
    template = environment(ROOT / "report/templates").get_template(f"sections/{slug}.html")

    def page(results: Results) -> str:
        return template.render(data=section.context(results))

    watched = Watched(root, declared(root))
    assert not RAW.search(page(watched))
    reached = []
    for place in poisoned(root, watched.asked):
        try:
            html = page(anew(watched, place.partition(":")[0]))
        except (TilecastError, LookupError, ValueError, TypeError, StopIteration):
            continue  # a name by which something is looked up, or a value that the schema refuses
        assert not RAW.search(html), place
        assert "49$" not in html, f"{place}: rendered as a template"
        if SHOWN in html:
            reached.append(place)
    assert len(reached) >= least, reached


def called(path: Path) -> set[str]:
    """The names of what a file calls."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {getattr(call, "id", getattr(call, "attr", "")) for call in calls}


def test_what_could_let_markup_through_is_in_few_places() -> None:
    """Of these each was looked at: a new one has to be."""

    package = "src/tilecast"
    files = {str(path.relative_to(ROOT)): called(path) for path in sorted((ROOT / package).rglob("*.py"))}

    def where(word: str) -> list[str]:
        return [file for file, calls in files.items() if word in calls]

    assert where("Markup") == [
        f"{package}/present/page/page.py",  # a section that its template escaped, its headings given addresses
        f"{package}/present/page/render.py",  # the project's own style and script, links to escaped paths
        f"{package}/present/page/results.py",  # a drawing, percent-encoded
        f"{package}/present/page/sections/paper_tables.py",  # a table that present.paper.render escaped
    ]
    assert where("Environment") == [f"{package}/moe/text.py", f"{package}/present/page/render.py"]
    for drawn in ("print_svg", "print_pdf", "print_png"):
        assert where(drawn) == [f"{package}/present/figures/style.py"]
    assert where("savefig") == []
    for path in sorted((ROOT / "report/templates").rglob("*.html")):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text()), path


def test_captions_hold_no_text_of_tables() -> None:
    """They are shown as they are, so nothing may be filled in but the configuration's own words."""
    for path in sorted((ROOT / "report/captions").glob("*.rst")):
        filled = set(re.findall(r"\{\{(.*?)\}\}", path.read_text()))
        assert all(words.strip().startswith("snakemake.") for words in filled), (path, filled)


def test_a_study_in_words_is_text_in_markdown_and_latex() -> None:
    from small_sections import small_study

    from tilecast.moe.tables import systems_table
    from tilecast.moe.text import paragraph, summary

    study = small_study()
    table = systems_table(study)
    name = study.systems[0].name
    words = summary(table.assign(reason=HOSTILE), name)
    assert "<" not in words and "&lt;script>" in words
    errors = pd.DataFrame([{"links": "NVLink", "kernel": "all", "sizes": "in use", "mape_percent": 5.0}])
    renamed = table.assign(system=table["system"].replace({study.focus: "a_b"}))
    assert r"on a\_b" in paragraph(ROOT / "report/paper/moe.tex.j2", renamed, errors, "a_b")
