"""Describe the results as a Workflow Run RO-Crate, and keep beside them what they were made from and with."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.files import write_bytes, write_text
from tilecast.base.job import run_step
from tilecast.tables.crate import run_crate


def crate(run: Mapping[str, str], settings: str, config: str, steps: Mapping[str, list[str]], output: str) -> None:
    """Copy the files of the run, write its settings and the metadata of all results."""
    for source, copy in run.items():
        write_bytes(copy, Path(source).read_bytes())
    write_text(config, settings + "\n")
    write_bytes(output, run_crate(Path(output).parent, steps))


if __name__ == "__main__":
    run_step(
        crate,
        snakemake,
        run=dict(zip(snakemake.input.run, snakemake.output.run, strict=True)),
        settings=snakemake.params.settings,
        config=snakemake.output.config,
        steps=snakemake.params.steps,
        output=snakemake.output.crate,
    )
