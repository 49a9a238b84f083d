"""The page in the system's Chromium: it sorts, filters, downloads, changes its colours, and asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe import violations
from playwright.sync_api import Browser, Page, sync_playwright
from small_results import declared

from tilecast.present.page.page import PAGES, render_pages
from tilecast.present.page.results import Results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(render: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("stick") / "index.html"  # alone, as on a USB stick
    file.write_text(render())
    return file.as_uri()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end of the test no error was logged and nothing outside the file was asked for."""
    troubles: list[str] = []
    contexts = []

    def opened(viewport: dict[str, int] = DESKTOP, scheme: str = "light", javascript: bool = True) -> Page:
        context = browser.new_context(
            viewport=viewport,  # type: ignore[arg-type]
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=javascript,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda asked: troubles.append(asked.url) if _is_foreign(asked.url, address) else None)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def _is_foreign(url: str, address: str) -> bool:
    return not url.startswith(("data:", address))


def _column(page: Page, table: str, place: int) -> list[float]:
    cells = page.locator(f"#{table} tbody tr > :nth-child({place})")
    return [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]


def test_a_table_sorts_both_ways_and_says_so(visit: Callable[..., Page]) -> None:
    page = visit()
    before = _column(page, "by-predictor", 5)
    head = page.locator("#by-predictor thead th", has_text="MAPE")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert _column(page, "by-predictor", 5) == sorted(before) != before
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert _column(page, "by-predictor", 5) == sorted(before, reverse=True)


def test_claims_are_found_by_their_words(visit: Callable[..., Page]) -> None:
    page = visit()
    claims = page.locator("#claims-of-authors > tbody:visible")
    tools = page.locator("[data-tools=claims-of-authors]")
    assert claims.count() == 2
    tools.get_by_label("Find").fill("claim-2")
    assert claims.count() == 1 and "contradicted" in claims.first.inner_text()
    assert tools.locator("output").inner_text() == "1 of 2"


def test_the_search_of_the_report_leads_to_a_claim_and_opens_it(visit: Callable[..., Page]) -> None:
    page = visit()
    page.get_by_label("Search the report").fill("error 4")
    found = page.locator(".search ol a")
    assert found.count() == 1 and "not testable" not in found.first.inner_text()
    page.keyboard.press("Enter")
    page.locator("#claim-claim-4 details[open]").wait_for()
    page.get_by_label("Search the report").fill("no such words")
    assert page.locator(".search ol").inner_text() == "Nothing found"
    page.evaluate("location.hash = 'claim-claim-0'")
    page.locator("#claim-claim-0 details[open]").wait_for()
    assert page.locator("#claim-claim-0 .cells tbody tr").count() == 1


def test_an_opened_claim_pushes_nothing_off_the_page(visit: Callable[..., Page]) -> None:
    page = visit()
    for table in page.locator("table.claims").all():
        table.evaluate("table => { const fold = table.closest('details'); if (fold) fold.open = true; }")
        before = table.bounding_box()["width"]  # type: ignore[index]
        for fold in table.locator("details").all():
            fold.evaluate("fold => { fold.open = true; }")
            assert table.bounding_box()["width"] == before  # type: ignore[index]
        assert table.evaluate(
            "table => [...table.querySelectorAll('tr > *')].every("
            "cell => cell.getBoundingClientRect().right <= table.getBoundingClientRect().right + 1)"
        )


def test_a_long_table_shows_its_first_rows_until_all_are_asked_for(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    name = page.locator("table.short").first.get_attribute("id")
    rows = page.locator(f"#{name} > tbody > tr")
    shown = page.locator(f"#{name} > tbody > tr:visible")
    assert shown.count() == 12 < rows.count()
    page.locator("button.more-rows").first.click()
    assert shown.count() == rows.count()


def test_on_paper_claims_are_closed_and_nothing_leaves_the_paper(visit: Callable[..., Page]) -> None:
    page = visit({"width": 700, "height": 1000})
    page.emulate_media(media="print")
    assert page.locator(".claims details[open]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


def test_a_figures_data_download_from_the_page_alone(visit: Callable[..., Page], results_folder: Path) -> None:
    page = visit()
    with page.expect_download() as download:
        page.locator("#figures figure").first.get_by_role("link", name="Data").click()
    assert download.value.suggested_filename == "error_distribution.csv"
    assert (
        Path(download.value.path()).read_bytes()
        == (results_folder / "figures/error_distribution.csv").read_bytes()
    )
    assert page.locator("#figures img").first.evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_the_button_is_pressed(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(scheme=scheme)

    def is_dark() -> bool:
        return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 128")

    assert is_dark() == (scheme == "dark")
    page.get_by_role("button", name="Light" if scheme == "dark" else "Dark").click()
    assert is_dark() != (scheme == "dark")
    page.reload()
    assert is_dark() != (scheme == "dark")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_never_scrolls_sideways(visit: Callable[..., Page], viewport: dict[str, int]) -> None:
    page = visit(viewport)
    page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_the_first_tab_reaches_the_skip_link_and_it_works(visit: Callable[..., Page]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_no_foreign_script_ran(visit: Callable[..., Page]) -> None:
    assert visit().evaluate("typeof window.hacked") == "undefined"


def test_points_of_a_figure_are_read_by_keys_and_pointer_and_found_by_words(visit: Callable[..., Page]) -> None:
    page = visit()
    fold = page.locator("#figure-predicted_vs_measured .points")
    fold.locator("summary").click()
    fold.locator("canvas").wait_for()
    said, frame = fold.locator("output"), fold.locator("[role=group]")
    frame.press("ArrowRight")
    first = said.inner_text()
    assert first == (
        "NeuSight (authors): V100, BERT-Large, Inference, sequence 512, batch 8, plain. "
        "Measured latency (ms) 10; Predicted latency (ms) 10.5; +5 %"
    )
    frame.press("ArrowRight")
    assert said.inner_text() != first
    at = fold.locator(".points-mark").bounding_box()
    frame.press("ArrowLeft")
    assert said.inner_text() == first
    page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)  # type: ignore[index]
    assert said.inner_text().startswith("NeuSight (authors): V100, BERT-Large, Training")
    fold.get_by_label("Find").fill("h100 training")
    assert said.inner_text() == "3 of 18 points"
    frame.press("ArrowRight")
    assert said.inner_text().startswith("NeuSight (authors): H100, BERT-Large, Training")
    button = fold.get_by_role("button", name="NeuSight (authors)")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    frame.press("ArrowRight")
    assert fold.locator(".points-mark").is_hidden()  # nothing is left to read


@pytest.fixture(scope="module")
def pages(results_folder: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report in pages."""
    folder = tmp_path_factory.mktemp("pages")
    made = render_pages(Results(results_folder, declared(results_folder)), repository / "report")
    assert set(made) == set(PAGES)
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html)
    return folder


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [
        ("light", DESKTOP),
        ("dark", PHONE),
        pytest.param("light", PHONE, marks=pytest.mark.exhaustive),
        pytest.param("dark", DESKTOP, marks=pytest.mark.exhaustive),
    ],
    ids=["light-desktop", "dark-phone", "light-phone", "dark-desktop"],
)
def test_axe_finds_nothing_on_any_page(
    browser: Browser, pages: Path, scheme: str, viewport: dict[str, int]
) -> None:
    assert violations(browser, pages, scheme, viewport) == []


def test_without_script_the_page_reads_and_offers_no_dead_control(visit: Callable[..., Page]) -> None:
    page = visit(javascript=False)
    assert page.locator("#claims-of-authors > tbody:visible").count() == 2
    assert page.locator("button:visible, input:visible, select:visible").count() == 0
