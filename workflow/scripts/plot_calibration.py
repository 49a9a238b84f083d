"""Draws whether the intervals hold what they claim."""

from tilecast.base.job import run_step
from tilecast.present.figures.calibration import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_calibration(coverage: str, cells: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's tables and save every form of the figure."""
    picture = draw(read(coverage, "coverage"), read(cells, "interval_cells"))
    save(picture, svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_calibration,
        snakemake,
        coverage=snakemake.input.coverage,
        cells=snakemake.input.cells,
        **dict(snakemake.output.items()),
    )
