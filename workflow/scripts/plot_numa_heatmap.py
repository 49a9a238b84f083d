"""Draws throughput of every GPU from every node."""

import tilecast.numa.tables  # noqa: F401 (declares the tables)
from tilecast.plot.numa_heatmap import draw
from tilecast.plot.style import save
from tilecast.step import run_step
from tilecast.tables import read


def plot_numa_heatmap(runs: str, comparison: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the stage's tables and save every form of the figure."""
    picture = draw(read(runs, "numa_runs"), read(comparison, "numa_comparison"))
    save(picture, svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_numa_heatmap,
        snakemake,
        runs=snakemake.input.runs,
        comparison=snakemake.input.comparison,
        **dict(snakemake.output.items()),
    )
