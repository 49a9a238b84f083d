"""The page as text: nothing foreign becomes markup, nothing missing is silent, same inputs give same bytes."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from markupsafe import escape
from small_results import HOSTILE, VERDICTS, declared, without_operators

from tilecast.present.page.page import ONE_FILE, PAGES, SECTIONS, render_pages
from tilecast.present.page.render import asset, environment, number
from tilecast.present.page.results import Results, data_uri
from tilecast.tables.declared.claims import CLAIMS

VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Elements, attributes and balance of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(render: Callable[..., str]) -> str:
    return render()


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_own_predictors_are_weighed(page: str, outline: Outline) -> None:
    shown = {table["id"] for table in outline.all("table") if table.get("id")}
    assert {
        "goals",
        "logo",
        "own_graphs",
        "coverage",
        "kernel_errors",
        "ablation-table",
        "constants",
        "rivals",
    } <= shown
    assert "Met: 1; missed: 0" in page and "none claimed" in page
    assert "A simpler forecast is better in 1 of 2 groups" in page and "against 9.5 %" in page
    assert "the only blind one, gave 10.7 %; the present design gives 5.6 %" in page


def test_a_script_in_a_claim_or_a_defect_or_a_row_stays_text(page: str, outline: Outline) -> None:
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;window.hacked") >= 2 + 2 * len(VERDICTS)
    assert [script.get("type") for script in outline.all("script")] == ["application/json"] * 2 + [None] * 3


def test_elements_are_balanced_and_ids_unique_and_inner_links_lead_somewhere(outline: Outline) -> None:
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {str(a["href"])[1:] for a in outline.all("a") if str(a.get("href")).startswith("#")}
    assert inner and inner <= set(ids)


def test_nothing_is_fetched(page: str, outline: Outline) -> None:
    for attributes in (a for tag, a in outline.elements if tag in ("img", "script", "link", "iframe", "source")):
        for name in ("src", "href"):
            assert str(attributes.get(name) or "data:").startswith("data:")
    assert "@import" not in page and not re.search(r"url\((?!#|%23)", page)


def test_the_policy_allows_these_scripts_only(page: str, outline: Outline) -> None:
    import hashlib

    scripts = [part.split("</script>", 1)[0] for part in page.split("<script>")[1:]]
    policy = next(a["content"] for a in outline.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert " ".join(["script-src", *(f"'sha256-{digest}'" for digest in digests)]) + ";" in str(policy)
    assert "MIT License" in scripts[1] and "Leon Sorokin" in scripts[1] and "uPlot" in scripts[1]


def test_every_verdict_is_a_word_with_a_shape(page: str) -> None:
    for verdict in VERDICTS:
        assert re.search(rf'<span class="verdict"><svg class="mark \w+".*?</svg>{verdict}</span>', page, re.S)


def test_the_first_screen_counts_what_holds(page: str) -> None:
    assert "<strong>1 <span>of 2</span></strong>claims of the authors hold<small>1 contradicted, 0 not" in page
    assert "<strong>1 <span>of 2</span></strong>figures of the artifact’s 1 summary tables come out again" in page
    assert '<h1 id="answer">Yes: the figures the authors state' in page and "Reproduced: yes</span>" in page
    assert "18 end-to-end latencies, 3 models on 3 GPUs" in page


def test_without_summary_tables_the_first_screen_says_what_they_need(render: Callable[..., str]) -> None:
    page = render(without="summary_comparison")
    assert "figures of the artifact’s summary tables come out again<small>needs the full artifact</small>" in page


def test_every_table_header_has_a_scope_and_every_picture_words(outline: Outline) -> None:
    assert all(attributes.get("scope") in ("col", "colgroup", "row") for attributes in outline.all("th"))
    pictures = outline.all("img")
    assert pictures and all(attributes.get("alt") for attributes in pictures)


def test_a_figure_goes_into_the_page_whole(outline: Outline, results_folder: Path) -> None:
    picture = unquote(str(outline.all("img")[-1]["src"]).removeprefix("data:image/svg+xml,"))
    drawn = (results_folder / "figures/error_distribution.svg").read_text(encoding="utf-8")
    assert picture == drawn.replace("\n", " ")


def test_a_drawing_cannot_leave_its_attribute(tmp_path: Path) -> None:
    drawing = tmp_path / "a.svg"
    drawing.write_text("<svg><title>'><script>&amp;#%\u00e9</title></svg>", encoding="utf-8")
    assert not set("'<>&#\u00e9") & set(data_uri(drawing))


def test_a_figures_data_are_inside_the_page(outline: Outline, results_folder: Path) -> None:
    link = next(a for a in outline.all("a") if a.get("download") == "error_distribution.csv")
    data = base64.b64decode(str(link["href"]).split("base64,")[1])
    assert data == (results_folder / "figures/error_distribution.csv").read_bytes()


def test_the_same_inputs_give_the_same_bytes_without_path_or_date(
    render: Callable[..., str], results_folder: Path
) -> None:
    first = render()
    assert first == render()
    assert str(results_folder) not in first and str(Path.home()) not in first
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", first)


@pytest.mark.parametrize(
    "section", [one for one in SECTIONS if one.needs and not one.optional], ids=lambda s: s.slug
)
def test_a_section_without_its_files_names_them(render: Callable[..., str], section: object) -> None:
    needed = section.needs[0]  # type: ignore[attr-defined]
    assert f"<code>results/{needed}</code>" in render(without=needed)


def test_only_declared_files_are_read(results_folder: Path) -> None:
    results = Results(results_folder, [])
    assert (results_folder / "evaluation/claims.csv").is_file()
    assert results.table("evaluation/claims.csv", CLAIMS).empty
    assert results.json("artifact/source.json") is None


def test_transcribed_figures_alone_are_announced_where_they_do_not_suffice(
    results_folder: Path, repository: Path, tmp_path: Path
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results_folder, root)
    record = json.loads((root / "artifact/source.json").read_text())
    (root / "artifact/source.json").write_text(json.dumps(record | {"source": "published"}))
    without_operators(root)
    page = render_pages(Results(root, declared(root)), repository / "report", whole=True)[ONE_FILE]
    assert "Transcribed figures only." in page
    for words in ("they need the full artifact", "The summary tables need", "The kernels to leave out need"):
        assert words in page


def test_sections_of_the_stages_show_their_tables(page: str) -> None:
    assert "1 of 2 figures of the artifact’s own summary tables come out again" in page
    assert "18 of the 18 labels that come with measured operators" in page
    assert re.search(r'<td class="n" data-value="12.3">12.3</td>', page)
    assert "1 of 1 graphs differ somewhere, always for a known reason" in page


def test_the_audited_documents_are_described(results_folder: Path, repository: Path) -> None:
    from tilecast.evaluate.claims import load_claims

    claims = repository / "config/claims.yaml"
    page = render_pages(Results(results_folder, declared(results_folder), claims), repository / "report")["index"]
    for document in load_claims(claims).documents.values():
        if document.whose in ("authors", "survey"):
            assert str(escape(document.title)) in page


@pytest.fixture(scope="module")
def pages(results_folder: Path, repository: Path) -> dict[str, str]:
    return render_pages(Results(results_folder, declared(results_folder)), repository / "report")


def test_links_between_the_pages_lead_somewhere(pages: dict[str, str]) -> None:
    outlines = {name: Outline(html) for name, html in pages.items()}
    ids = {name: {a["id"] for _, a in found.elements if "id" in a} for name, found in outlines.items()}
    assert set(pages) == set(PAGES)
    for name, found in outlines.items():
        assert found.open == []
        for link in (str(a.get("href")) for a in found.all("a")):
            page, mark, anchor = link.partition("#")
            if mark or page.endswith(".html"):
                other = page.removesuffix(".html") or name
                assert other in ids and (not anchor or anchor in ids[other]), (name, link)


def test_the_search_knows_claims_parts_figures_tables_and_terms(pages: dict[str, str]) -> None:
    for html in pages.values():
        text = html.split('<script type="application/json" id="report-entries">', 1)[1].split("</script>", 1)[0]
        entries = {entry["to"]: entry["words"] for entry in json.loads(text)}
        assert entries["index.html#claim-claim-0"].startswith(f"Error 0 {HOSTILE}: 0 %, reproduced")
        assert entries["studies.html#claim-claim-4"] and entries["appendix.html#term-mape"] == "MAPE"
        assert entries["errors.html#by-predictor"] == "By predictor"
        assert any(to.startswith("appendix.html#figure-") for to in entries)


def test_paths_of_the_artifact_lead_to_its_commit(repository: Path) -> None:
    engine = environment(repository / "report/templates", "https://github.com/a/b.git", "0" * 40)
    words = engine.from_string("{{ text|sourced }}").render(text=f"scripts/asplos/label/x.json {HOSTILE}")
    assert f'<a href="https://github.com/a/b/blob/{"0" * 40}/scripts/asplos/label/x.json">' in words
    assert HOSTILE not in words


def test_numbers_have_a_true_minus_and_separated_thousands() -> None:
    assert number(-1234.56, 1) == "\u22121,234.6"


def test_an_asset_that_could_end_its_element_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text("'</script>'")
    with pytest.raises(ValueError, match="must not contain"):
        asset(tmp_path / "page.js")
