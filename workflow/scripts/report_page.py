"""Renders the page a reviewer reads."""

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.present.page.page import render_page
from tilecast.present.page.results import Results


def report_page(files: Iterable[str], claims: str, assets: str, output: str) -> None:
    """One HTML file from the declared inputs; `assets` is the folder of templates, style and script."""
    root = Path(output).parents[1]
    write_text(output, render_page(Results(root, files, Path(claims)), Path(assets)))


if __name__ == "__main__":
    run_step(
        report_page,
        snakemake,
        files=snakemake.input.files,
        claims=snakemake.input.claims,
        assets=str(Path(snakemake.input.style).parent),
        output=snakemake.output[0],
    )
