"""Renders the report that a reviewer reads."""

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.present.page.page import ONE_FILE, render_pages
from tilecast.present.page.results import Results


def report_page(files: Iterable[str], claims: str, assets: str, outputs: Iterable[str]) -> None:
    """Each output, a page of the report or all in one file; `assets` holds templates, style and script."""
    made = {Path(output).stem: output for output in outputs}
    folder = Path(next(iter(made.values()))).parent
    pages = render_pages(Results(folder.parent, files, Path(claims)), Path(assets), whole=ONE_FILE in made)
    for name, output in made.items():
        write_text(output, pages[name])


if __name__ == "__main__":
    run_step(
        report_page,
        snakemake,
        files=snakemake.input.files,
        claims=snakemake.input.claims,
        assets=str(Path(snakemake.input.style).parent),
        outputs=list(snakemake.output),
    )
