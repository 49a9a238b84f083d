"""The documentation: every link leads somewhere, every page is on the list of pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in LINK.findall(page.read_text()):
        if target.startswith(("http", "mailto")):
            continue
        found = (page.parent / target).resolve() if target else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


def test_every_page_is_on_the_list() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\]\(([^)#]+\.md)\)", index))


def test_paths_named_in_the_documents_exist() -> None:
    folders = (
        "src/tilecast",
        "workflow",
        "tests",
        "config",
        "resources",
        "benchmarks",
        "docs",
        "report",
        "envs",
        "profiles",
    )
    missing = []
    for page in PAGES:
        if page.name == "output.md":  # its paths are below results/
            continue
        for path in re.findall(rf"`((?:{'|'.join(folders)})/[\w./-]+)`", page.read_text()):
            if not (ROOT / path).exists():
                missing.append(f"{page.name}: {path}")
    assert missing == []
