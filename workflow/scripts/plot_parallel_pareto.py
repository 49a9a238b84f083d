"""Draws the worked examples' pareto fronts."""

import pandas as pd

from tilecast.base.job import run_step
from tilecast.present.figures.parallel_pareto import draw
from tilecast.present.figures.style import save


def plot_parallel_pareto(search: str, serving: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the study's tables and save every form of the figure."""
    save(draw(pd.read_csv(search), pd.read_csv(serving)), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_parallel_pareto,
        snakemake,
        search=snakemake.input.search,
        serving=snakemake.input.serving,
        **dict(snakemake.output.items()),
    )
