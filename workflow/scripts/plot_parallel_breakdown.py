"""Draws the worked examples' parts of a step."""

import pandas as pd

from tilecast.base.job import run_step
from tilecast.present.figures.parallel_breakdown import draw
from tilecast.present.figures.style import save


def plot_parallel_breakdown(table: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the study's table and save every form of the figure."""
    save(draw(pd.read_csv(table)), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(plot_parallel_breakdown, snakemake, table=snakemake.input.table, **dict(snakemake.output.items()))
