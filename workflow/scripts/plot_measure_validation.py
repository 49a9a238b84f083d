"""Draws forecasts made before measuring against what was then measured."""

from tilecast.base.job import run_step
from tilecast.present.figures.measure_validation import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_measure_validation(kernels: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's table and save every form of the figure."""
    save(draw(read(kernels, "live_kernels")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_measure_validation,
        snakemake,
        kernels=snakemake.input.kernels,
        **dict(snakemake.output.items()),
    )
