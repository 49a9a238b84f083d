"""Writes the paper's six end-to-end tables."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.present.paper.end_to_end import tables
from tilecast.present.paper.render import write_all
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.io import read


def table_end_to_end(labels: str, errors: str, folder: str) -> None:
    """Every table in its four forms, into `folder`."""
    for table in tables(read(labels, LABELS), read(errors, ERRORS)):
        stem = f"{folder}/{table.name}"
        write_all(table, csv=f"{stem}.csv", html=f"{stem}.html", tex=f"{stem}.tex", typ=f"{stem}.typ")


if __name__ == "__main__":
    run_step(
        table_end_to_end,
        snakemake,
        labels=snakemake.input.labels,
        errors=snakemake.input.errors,
        folder=str(Path(snakemake.output[0]).parent),
    )
