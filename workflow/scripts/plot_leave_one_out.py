"""Draws the kernel error on each GPU left out of training."""

from tilecast.base.job import run_step
from tilecast.present.figures.leave_one_out import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_leave_one_out(logo: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the table and save every form of the figure."""
    save(draw(read(logo, "logo")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_leave_one_out, snakemake, logo=snakemake.input.logo, **dict(snakemake.output.items()))
