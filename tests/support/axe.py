"""The accessibility rules of axe-core, held against the pages of a report in the system's Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

AXE = Path(__file__).parent / "vendor/axe.min.js"
FOUND = """async () => {
  document.querySelectorAll("details:not([hidden])").forEach((fold) => { fold.open = true; });
  await new Promise((done) => setTimeout(done, 100));
  const { violations } = await axe.run();
  return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`));
}"""


def violations(browser: Browser, folder: Path, scheme: Any, viewport: Any) -> list[str]:
    """What axe-core finds on any page of the folder, everything unfolded: the page, the rule and the element."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    found = []
    for file in sorted(folder.glob("*.html")):
        page = context.new_page()
        page.goto(file.as_uri())
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found += [f"{file.stem}: {one}" for one in page.evaluate(FOUND)]
        page.close()
    context.close()
    return found
