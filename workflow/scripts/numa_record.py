"""Puts the record of a measured study into tables: the study that was run, or the one shipped."""

import json
from pathlib import Path

from tilecast.files import write_text
from tilecast.numa.record import load, summary, tables
from tilecast.step import run_step
from tilecast.tables import write


def numa_record(record: str, runs: str, comparison: str, profiles: str, timeline: str, output: str) -> None:
    """Write the record's four tables and its summary."""
    file = Path(record) / "measured.json" if Path(record).is_dir() else Path(record)
    raw = load(file)
    found = tables(raw, file)
    for table, path in (
        ("runs", runs),
        ("comparison", comparison),
        ("profiles", profiles),
        ("timeline", timeline),
    ):
        write(found[f"numa_{table}"], path, f"numa_{table}")
    write_text(output, json.dumps(summary(raw), indent=1) + "\n")


if __name__ == "__main__":
    run_step(
        numa_record,
        snakemake,
        record=snakemake.input.record,
        runs=snakemake.output.runs,
        comparison=snakemake.output.comparison,
        profiles=snakemake.output.profiles,
        timeline=snakemake.output.timeline,
        output=snakemake.output.summary,
    )
