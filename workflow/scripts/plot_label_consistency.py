"""Draws whether measured operators add up to the measured whole."""

from tilecast.base.job import run_step
from tilecast.present.figures.label_consistency import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_label_consistency(noise: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's table and save every form of the figure."""
    save(draw(read(noise, "label_noise")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_label_consistency, snakemake, noise=snakemake.input.noise, **dict(snakemake.output.items()))
