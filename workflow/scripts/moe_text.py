"""Writes the study in words: summaries, log, paragraph and table for a paper."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tilecast.base.files import write_text
from tilecast.base.job import run_step
from tilecast.moe.text import log, paragraph, summary
from tilecast.present.paper.moe import table
from tilecast.present.paper.render import write_all
from tilecast.tables.declared.moe import SYSTEMS
from tilecast.tables.io import read


def moe_text(
    systems: str,
    errors: str,
    template: str,
    title: str,
    focus: str,
    summaries: Sequence[str],
    files: dict[str, str],
) -> None:
    """`files`: log, paragraph, and the table's four forms csv, html, tex, typ."""
    rows = read(systems, SYSTEMS)
    for path in summaries:
        write_text(path, summary(rows, Path(path).stem.removeprefix("SUMMARY_")))
    write_text(files["paragraph"], paragraph(template, rows, pd.read_csv(errors), focus))
    write_all(table(rows), files["csv"].removesuffix(".csv"))
    folder = Path(files["log"]).parents[1]
    written = sorted(
        os.path.relpath(path, folder) for path in (*summaries, *files.values()) if path != files["log"]
    )
    write_text(files["log"], log(rows, title, written))


if __name__ == "__main__":
    run_step(
        moe_text,
        snakemake,
        systems=snakemake.input.systems,
        errors=snakemake.input.errors,
        template=snakemake.input.template,
        title=snakemake.params.title,
        focus=snakemake.params.focus,
        summaries=list(snakemake.output.summaries),
        files={key: path for key, path in snakemake.output.items() if key != "summaries"},
    )
