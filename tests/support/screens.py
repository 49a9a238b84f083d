"""Takes the README's pictures of the report: its first screen, at a desk and on a telephone."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"desktop": (1400, 900), "phone": (390, 844)}


def main() -> None:
    """Write docs/images/report-*.png from results/report/index.html."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height) in SIZES.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.goto((ROOT / "results/report/index.html").as_uri())
            page.screenshot(path=ROOT / f"docs/images/report-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
