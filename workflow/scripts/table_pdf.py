"""Sets all paper tables as one PDF, and as one LaTeX document."""

from collections.abc import Sequence

from tilecast.base.job import run_step
from tilecast.present.paper.pdf import write_latex, write_pdf


def table_pdf(fragments: Sequence[str], pdf: str, tex: str) -> None:
    """The tables in the order given."""
    write_pdf(fragments, pdf)
    write_latex(fragments, tex)


if __name__ == "__main__":
    run_step(
        table_pdf,
        snakemake,
        fragments=list(snakemake.input.fragments),
        pdf=snakemake.output.pdf,
        tex=snakemake.output.tex,
    )
