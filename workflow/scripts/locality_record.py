"""Puts the record of a measured study into tables: the study that was run, or the one shipped."""

import json
from collections.abc import Mapping
from pathlib import Path

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.locality.record import load, summary, tables
from tilecast.tables.declared.locality import RECORD
from tilecast.tables.io import write


def locality_record(record: str, outputs: Mapping[str, str], output: str) -> None:
    """Write the record's tables, `outputs` by their names, and its summary."""
    file = Path(record) / "measured.json" if Path(record).is_dir() else Path(record)
    raw = load(file)
    found = tables(raw, file)
    for name, path in outputs.items():
        write(found[name], path, RECORD[name])
    write_text(output, json.dumps(summary(raw), indent=1) + "\n")


if __name__ == "__main__":
    run_step(
        locality_record,
        snakemake,
        record=str(snakemake.input.record),
        outputs={name: path for name, path in snakemake.output.items() if name != "summary"},
        output=snakemake.output.summary,
    )
