"""Draws how the error of forecasts falls with the number of kernels measured."""

from tilecast.base.job import run_step
from tilecast.present.figures.measure_calibration import draw
from tilecast.present.figures.style import save
from tilecast.tables.io import read


def plot_measure_calibration(calibration: str, svg: str, pdf: str, png: str, data: str, about: str) -> None:
    """Draw from the evaluation's table and save every form of the figure."""
    save(draw(read(calibration, "live_calibration")), svg=svg, pdf=pdf, png=png, data=data, about=about)


if __name__ == "__main__":
    run_step(
        plot_measure_calibration,
        snakemake,
        calibration=snakemake.input.calibration,
        **dict(snakemake.output.items()),
    )
