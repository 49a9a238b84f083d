"""Writes the paper tables of one module."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.present.paper.render import write_all
from tilecast.tables.declared import find
from tilecast.tables.io import read


def table(module: str, tables: Sequence[str], declared: Sequence[str], folder: str) -> None:
    """Read what the module takes, and write every table it makes in its four forms."""
    maker = import_module(f"tilecast.present.paper.{module}")
    for made in maker.tables(*(read(path, find(name)) for path, name in zip(tables, declared, strict=True))):
        write_all(made, f"{folder}/{made.name}")


if __name__ == "__main__":
    run_step(
        table,
        snakemake,
        module=snakemake.params.module,
        tables=list(snakemake.input.tables),
        declared=snakemake.params.declared,
        folder=str(Path(snakemake.output[0]).parent),
    )
