"""Draws utilisation, measured and forecast."""

from pandas import read_csv

from tilecast.base.job import run_step
from tilecast.present.figures.modern_utilisation import draw
from tilecast.present.figures.style import save


def plot_modern_utilisation(surface: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the stage's tables and save every form of the figure."""
    save(draw(read_csv(surface)), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_modern_utilisation, snakemake, surface=snakemake.input.surface, **dict(snakemake.output.items()))
