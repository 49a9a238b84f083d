"""Draws the share of peak that matrix products reach, measured and forecast."""

from tilecast.base.job import run_step
from tilecast.present.figures.style import save
from tilecast.present.figures.utilisation import draw
from tilecast.tables.io import read


def plot_utilisation(sweeps: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the table and save every form of the figure."""
    save(draw(read(sweeps, "utilisation")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_utilisation, snakemake, sweeps=snakemake.input.sweeps, **dict(snakemake.output.items()))
