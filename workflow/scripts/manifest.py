"""Lists every result with size and checksum, so that `tilecast check results` can tell what changed."""

from collections.abc import Iterable
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.tables.results import write_manifest


def manifest(made: Iterable[str], others: Iterable[str], state: str, output: str) -> None:
    """Write the manifest of the folder it lies in."""
    write_manifest(Path(output).parent, list(made), list(others), Path(state))


if __name__ == "__main__":
    run_step(
        manifest,
        snakemake,
        made=snakemake.params.made,
        others=snakemake.params.others,
        state=snakemake.params.state,
        output=snakemake.output[0],
    )
