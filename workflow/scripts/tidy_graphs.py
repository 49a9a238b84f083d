"""Tidy the artifact's operator graphs."""

from tilecast.artifact import names
from tilecast.artifact.graphs import read_graphs
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import GRAPHS
from tilecast.tables.io import write


def tidy_graphs(archive: str, output: str) -> None:
    write(read_graphs(load(archive, names.GRAPHS)), output, GRAPHS)


if __name__ == "__main__":
    run_step(tidy_graphs, snakemake, archive=snakemake.input.archive, output=snakemake.output[0])
