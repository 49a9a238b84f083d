"""Sets all paper tables as one PDF."""

from collections.abc import Sequence

from tilecast.base.job import run_step
from tilecast.present.paper.pdf import write_pdf


def table_pdf(fragments: Sequence[str], output: str) -> None:
    """One PDF of the tables in the order given."""
    write_pdf(fragments, output)


if __name__ == "__main__":
    run_step(table_pdf, snakemake, fragments=list(snakemake.input.fragments), output=snakemake.output[0])
