"""Tidy the measured kernels."""

from tilecast.artifact import names
from tilecast.artifact.kernels import read_kernels
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import KERNELS
from tilecast.tables.io import write


def tidy_kernels(archive: str, output: str) -> None:
    write(read_kernels(load(archive, names.KERNELS)), output, KERNELS)


if __name__ == "__main__":
    run_step(tidy_kernels, snakemake, archive=snakemake.input.archive, output=snakemake.output[0])
