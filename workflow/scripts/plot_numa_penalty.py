"""Draws what the remote node costs each model."""

import tilecast.numa.tables  # noqa: F401 (declares the tables)
from tilecast.plot.numa_penalty import draw
from tilecast.plot.style import save
from tilecast.step import run_step
from tilecast.tables import read


def plot_numa_penalty(
    predicted: str, comparison: str, svg: str, pdf: str, png: str, data: str, about: str
) -> None:
    """Draw from the stage's tables and save every form of the figure."""
    picture = draw(read(predicted, "numa_predicted"), read(comparison, "numa_comparison"))
    save(picture, svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_numa_penalty,
        snakemake,
        predicted=snakemake.input.predicted,
        comparison=snakemake.input.comparison,
        **dict(snakemake.output.items()),
    )
