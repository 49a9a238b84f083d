"""Draws error against kernel size."""

from pandas import read_csv

from tilecast.base.job import run_step
from tilecast.present.figures.modern_sizes import draw
from tilecast.present.figures.style import save


def plot_modern_sizes(sizes: str, noise: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the stage's tables and save every form of the figure."""
    save(draw(read_csv(sizes), read_csv(noise)), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_modern_sizes,
        snakemake,
        sizes=snakemake.input.sizes,
        noise=snakemake.input.noise,
        **dict(snakemake.output.items()),
    )
