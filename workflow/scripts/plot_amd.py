"""Draws the errors on AMD GPUs."""

from tilecast.base.job import run_step
from tilecast.present.figures.amd import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_amd(errors: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's table and save every form of the figure."""
    save(draw(read(errors, "errors")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_amd, snakemake, errors=snakemake.input.errors, **dict(snakemake.output.items()))
