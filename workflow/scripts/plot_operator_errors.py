"""Draws the error by operator class."""

from tilecast.base.job import run_step
from tilecast.present.figures.operator_errors import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_operator_errors(operators: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's table and save every form of the figure."""
    save(draw(read(operators, "operator_errors")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_operator_errors, snakemake, operators=snakemake.input.operators, **dict(snakemake.output.items())
    )
