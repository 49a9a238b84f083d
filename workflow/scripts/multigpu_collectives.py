"""Weigh the collectives' forecasts at sizes and on systems left out."""

from tilecast.base.job import run_step
from tilecast.evaluate.multigpu import collective_errors
from tilecast.multigpu.collectives import curves, curves_without_size
from tilecast.multigpu.collectives_fit import validate
from tilecast.tables.declared.multigpu import COLLECTIVE_MEASUREMENTS, COLLECTIVES, COLLECTIVES_MAPE
from tilecast.tables.io import read, write


def multigpu_collectives(measured: str, cells: str, mape: str) -> None:
    """Write every measured collective with its held-out forecast, and the errors' means."""
    table = validate(read(measured, COLLECTIVE_MEASUREMENTS), curves(), curves_without_size())
    write(table, cells, COLLECTIVES)
    write(collective_errors(table), mape, COLLECTIVES_MAPE)


if __name__ == "__main__":
    run_step(
        multigpu_collectives,
        snakemake,
        measured=snakemake.input.measured,
        cells=snakemake.output.cells,
        mape=snakemake.output.mape,
    )
