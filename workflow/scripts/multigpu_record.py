"""Take the worked examples of many GPUs from the record shipped with the project."""

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.tables.declared.multigpu import STUDY
from tilecast.tables.io import read, write


def multigpu_record(record: Iterable[str], outputs: Iterable[str]) -> None:
    """Copy each table of the record to the output of its name."""
    tables = {Path(path).name: path for path in record}
    for output in outputs:
        table = STUDY[Path(output).stem]
        write(read(tables[Path(output).name], table), output, table)


if __name__ == "__main__":
    run_step(multigpu_record, snakemake, record=snakemake.input.record, outputs=list(snakemake.output))
