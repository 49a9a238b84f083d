"""Draws measured collectives against their forecasts with the size, or the system, left out."""

from tilecast.base.job import run_step
from tilecast.present.figures.parallel_collectives import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_parallel_collectives(cells: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the validation's table and save every form of the figure."""
    save(draw(read(cells, "collectives")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_parallel_collectives, snakemake, cells=snakemake.input.cells, **dict(snakemake.output.items()))
