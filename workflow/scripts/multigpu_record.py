"""Take the worked examples of many GPUs from the record shipped with the project."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tilecast.base.job import run_step
from tilecast.tables.io import write_free


def multigpu_record(record: Iterable[str], outputs: Iterable[str]) -> None:
    """Copy each table of the record to the output of its name."""
    tables = {Path(path).name: path for path in record}
    for output in outputs:
        write_free(pd.read_csv(tables[Path(output).name]), output)


if __name__ == "__main__":
    run_step(multigpu_record, snakemake, record=snakemake.input.record, outputs=list(snakemake.output))
