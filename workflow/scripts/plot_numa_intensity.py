"""Draws throughput over the work done for each byte copied."""

import tilecast.numa.tables  # noqa: F401 (declares the tables)
from tilecast.plot.numa_intensity import draw
from tilecast.plot.style import save
from tilecast.step import run_step
from tilecast.tables import read


def plot_numa_intensity(predicted: str, runs: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the stage's tables and save every form of the figure."""
    picture = draw(read(predicted, "numa_predicted"), read(runs, "numa_runs"))
    save(picture, svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_numa_intensity,
        snakemake,
        predicted=snakemake.input.predicted,
        runs=snakemake.input.runs,
        **dict(snakemake.output.items()),
    )
