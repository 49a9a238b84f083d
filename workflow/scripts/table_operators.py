"""Writes the paper table `operators`."""

from tilecast.base.job import run_step
from tilecast.present.paper.operators import table
from tilecast.present.paper.render import write_all
from tilecast.tables.declared.evaluation import OPERATOR_ERRORS
from tilecast.tables.io import read


def table_operators(operators: str, csv: str, html: str, tex: str, typ: str) -> None:
    """The table in its four forms."""
    write_all(table(read(operators, OPERATOR_ERRORS)), csv=csv, html=html, tex=tex, typ=typ)


if __name__ == "__main__":
    run_step(table_operators, snakemake, operators=snakemake.input.operators, **dict(snakemake.output.items()))
