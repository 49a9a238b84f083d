"""Draws one figure of the report."""

from collections.abc import Mapping, Sequence
from importlib import import_module

from tilecast.base.job import run_step
from tilecast.present.figures.style import save
from tilecast.tables.declared import find
from tilecast.tables.io import read


def plot(
    name: str, tables: Sequence[str], declared: Sequence[str], arguments: Mapping[str, str], **files: str
) -> None:
    """Read the tables, draw the figure and save every form of it."""
    module = import_module(f"tilecast.present.figures.{name}")
    frames = [read(path, find(table)) for path, table in zip(tables, declared)]
    save(module.draw(*frames, **arguments), **files)


if __name__ == "__main__":
    run_step(
        plot,
        snakemake,
        name=snakemake.params.name,
        tables=list(snakemake.input.tables),
        declared=snakemake.params.declared,
        arguments=snakemake.params.arguments,
        **dict(snakemake.output.items()),
    )
