"""Measures how much of a copy hides behind a matrix product on this machine."""

from tilecast.base.job import run_step
from tilecast.moe.overlap import measure
from tilecast.tables.declared.moe import OVERLAP
from tilecast.tables.io import write


def moe_overlap(device: str, output: str) -> None:
    """Write what was measured beside the formula."""
    write(measure(device), output, OVERLAP)


if __name__ == "__main__":
    run_step(moe_overlap, snakemake, device=snakemake.params.device, output=snakemake.output[0])
