"""What a finished default run has written."""

from __future__ import annotations

import datetime
import json
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import basic_test
import pytest
from axe import violations
from copies import ROOT, Copy
from latex import latex
from playwright.sync_api import sync_playwright

from tilecast import __released__
from tilecast.evaluate.claims import DATASETS
from tilecast.tables import crate
from tilecast.tables.declared.claims import CLAIMS
from tilecast.tables.io import read
from tilecast.tables.results import digest_of

pytestmark = pytest.mark.slow

STAGES = ("evaluation", "tables", "figures", "report", "tidy", "predict", "graphs")  # not of the machine it ran on


def test_results_hold_no_path_host_or_date(finished: Copy, shared: Path) -> None:
    today = datetime.date.today()
    days = [today - datetime.timedelta(days=back) for back in (0, 1)]  # a run may begin before midnight
    formats = ("%Y-%m-%d", "%Y%m%d", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d %Y", "%d/%m/%Y", "%m/%d/%Y")
    days = [day for day in days if str(day) != __released__]
    traces = [day.strftime(form) for day in days for form in formats]
    traces += [str(shared), str(ROOT), sys.prefix]  # the first is where the workflow ran
    traces += [platform.node()] if len(platform.node()) > 6 else []  # a short name stands in many a word
    found = [
        (name, trace)
        for name, data in finished.results(*STAGES).items()
        for trace in traces
        if trace.encode() in data
    ]
    assert found == []


def test_the_report_is_small_and_its_tables_are_few_pages(finished: Copy) -> None:
    pages = {name: page for name, page in finished.results("report").items() if name.endswith(".html")}
    assert len(pages) == 6 and all(len(page) < 2_000_000 for page in pages.values())
    tables = finished.results("tables")
    assert len(re.findall(rb"/Type\s*/Page[^s]", tables["tables/tables.pdf"])) <= 15
    parts = re.findall(rb"\\input{(.*?)}", tables["tables/tables.tex"])
    assert parts and all(f"tables/{part.decode()}" in tables for part in parts)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex on this machine")
def test_latex_sets_the_tables_within_the_page(finished: Copy, tmp_path: Path) -> None:
    for file in (finished.root / "results/tables").glob("*.tex"):
        shutil.copy(file, tmp_path)
    shutil.copy(finished.root / "results/moe/tables/cross_system.tex", tmp_path)
    shutil.copy(finished.root / "results/moe/paragraph.tex", tmp_path)
    document = tmp_path / "tables.tex"
    more = "\\input{paragraph.tex}\n\\input{cross_system.tex}\n\\end{document}"
    document.write_text(document.read_text().replace("\\end{document}", more))
    assert latex(tmp_path) == []


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("scheme", "width"), [("dark", 390), pytest.param("light", 1400, marks=pytest.mark.exhaustive)]
)
def test_axe_finds_nothing_on_any_page_of_the_report(finished: Copy, scheme: str, width: int) -> None:
    """Both schemes and widths of the small report in every run of the tests: tests/report/test_browser.py."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        seen = {"width": width, "height": 900}
        assert violations(browser, finished.root / "results/report", scheme, seen) == []
        browser.close()


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_on_paper_no_table_is_cut_and_no_row_name_is_broken(finished: Copy) -> None:
    broken = """() => [...document.querySelectorAll("table:not(.claims, .cells) tbody th")].filter((cell) => {
      const word = cell.firstChild?.data?.match(/[\\w]+/)?.[0];
      if (!word || !cell.getClientRects().length) return false;
      const range = document.createRange();
      range.setStart(cell.firstChild, cell.firstChild.data.indexOf(word));
      range.setEnd(cell.firstChild, cell.firstChild.data.indexOf(word) + word.length);
      return new Set([...range.getClientRects()].map((line) => line.top)).size > 1;
    }).map((cell) => cell.textContent)"""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 718, "height": 1040})  # A4 less margins of 1 cm
        page.emulate_media(media="print")
        for file in sorted((finished.root / "results/report").glob("*.html")):
            page.goto(file.as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert (file.name, wide, page.evaluate(broken)) == (file.name, 718, [])
        browser.close()


@pytest.mark.artifact
def test_every_difference_from_the_artifacts_graphs_is_committed_with_its_reason(finished: Copy) -> None:
    found = finished.root / "results/graphs/differences.csv"
    assert found.read_bytes() == (ROOT / "resources/published/graph_differences.csv").read_bytes()


def test_the_run_is_described_as_its_profile_asks(finished: Copy) -> None:
    """What Workflow Run Crate 0.5 requires, and every file with its checksum; the rest is tested below."""
    folder = finished.root / "results"
    graph = {entity["@id"]: entity for entity in json.loads((folder / crate.NAME).read_text())["@graph"]}
    assert [graph[one["@id"]]["@type"] for one in graph["./"]["conformsTo"]] == ["CreativeWork"] * 3
    assert {one["@id"] for one in graph["./"]["conformsTo"]} == set(crate.PROFILES)
    workflow = graph[graph["./"]["mainEntity"]["@id"]]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} == set(workflow["@type"])
    assert graph[workflow["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    actions = [graph[one["@id"]] for one in graph["./"]["mentions"]]
    assert actions[0]["instrument"] == {"@id": "run/Snakefile"}
    made = {one["@id"]: action["name"] for action in actions[1:] for one in action["result"]}
    assert made["evaluation/claims.csv"] == "the step audit_claims"
    files = {name: entity for name, entity in graph.items() if "sha256" in entity}
    assert {"@id": "report/index.html"} in actions[0]["result"]
    assert {one["@id"] for one in graph["./"]["hasPart"]} == set(files)
    assert set(made) == set(files)
    assert {name for name in files if digest_of(folder / name) != files[name]["sha256"]} == set()
    assert (folder / "run/Snakefile").read_bytes() == (finished.root / "Snakefile").read_bytes()


@pytest.mark.exhaustive
def test_the_validator_finds_nothing_against_either_crate(finished: Copy, tmp_path: Path) -> None:
    subprocess.run(["make", "-s", "build/package/.ready"], cwd=ROOT, check=True)
    validate = [ROOT / "build/package/bin/python", ROOT / "tests/support/validate_crate.py"]
    bundle = tmp_path / "bundle.tar.gz"
    finished.run([sys.executable, "-m", "tilecast", "bundle", "make", "--output", str(bundle)])
    results = tmp_path / "results"  # the validator makes no sound URI of a path with a space
    results.symlink_to(finished.root / "results")
    shutil.unpack_archive(bundle, tmp_path / "bundle", filter="data")
    for folder, profile in (
        (results, "workflow-run-crate-0.5"),
        (tmp_path / "bundle", "ro-crate-1.1"),
    ):
        finished.run([*map(str, validate), str(folder), profile])
    described = tmp_path / "bundle" / crate.NAME
    described.write_text(described.read_text().replace("datePublished", "dateCreated"))
    told = finished.run([*map(str, validate), str(tmp_path / "bundle"), "ro-crate-1.1"], fails=True).output
    assert "MUST have a `datePublished`" in told


def test_the_first_test_of_a_reviewer_decides(finished: Copy, tmp_path: Path) -> None:
    """`make basic-test`: its record is what a whole run finds; a changed table is noticed, so is any failure."""
    found = basic_test.verdicts(finished.root)
    assert basic_test.moved(found) == ""
    for name in basic_test.DECIDING:
        path = Path(DATASETS[name])
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        text = (finished.root / path).read_text()
        (tmp_path / path).write_text(re.sub(r"(?m)^(neusight_published,.*,)[\d.]+(,\w+)$", r"\g<1>77\2", text))
    assert "guide-v100-inference" in basic_test.moved(basic_test.verdicts(tmp_path))

    assert basic_test.packages() == ""
    assert basic_test.run({"one": lambda: ""}, tmp_path / "told.json") == 0
    assert basic_test.run({"one": lambda: "", "two": lambda: str(1 / 0)}, tmp_path / "told.json") == 1
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["verdict"] == "failed"
    assert [one["verdict"] for one in told["checks"].values()] == ["passed", "failed"]
    assert told["checks"]["two"]["why"] == "ZeroDivisionError: division by zero"


def test_the_appendix_has_two_pages_and_a_row_for_each_claim_about_the_artifact(finished: Copy) -> None:
    text = (finished.root / "results/report/artifact-appendix.md").read_text()
    verdicts = read(finished.root / "results/evaluation/claims.csv", CLAIMS)
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [row for row in cells if len(row) == 7 and row[0] in set(verdicts["source"])]
    about = verdicts[verdicts["whose"] != "study"]
    for source, title, verdict in about[["source", "title", "verdict"]].itertuples(index=False):
        assert [row[2] for row in rows if row[:2] == [source, title]] == [verdict], title
    grouped = [row for row in rows if row[1] == "its figures"]
    counted = sum(int(number) for row in grouped for number in re.findall(r"\b(\d+) [a-z]", row[2]))
    assert counted == len(verdicts) - len(about)
    for row in rows:
        path = finished.root / row[3].strip("`")
        assert path.is_file(), row
        assert row[5] == "none" or float(row[5]) > 0
    pdf = (finished.root / "results/report/artifact-appendix.pdf").read_bytes()
    assert re.findall(rb"/Type\s*/Pages\s*/Count (\d+)", pdf) == [b"2"]


@pytest.mark.exhaustive
def test_the_first_test_of_a_reviewer_passes() -> None:
    began = time.monotonic()
    assert basic_test.run(basic_test.CHECKS, basic_test.VERDICTS) == 0
    assert time.monotonic() - began < 60
