"""Draws what bounds each model on each GPU."""

from tilecast.base.job import run_step
from tilecast.present.figures.bounds import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_bounds(breakdown: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the table and save every form of the figure."""
    save(draw(read(breakdown, "breakdown")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_bounds, snakemake, breakdown=snakemake.input.breakdown, **dict(snakemake.output.items()))
