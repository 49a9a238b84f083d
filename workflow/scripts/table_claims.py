"""Writes the paper table `claims`."""

from tilecast.base.job import run_step
from tilecast.present.paper.claims import table
from tilecast.present.paper.render import write_all
from tilecast.tables.declared.claims import CLAIMS
from tilecast.tables.io import read


def table_claims(claims: str, csv: str, html: str, tex: str, typ: str) -> None:
    """The table in its four forms."""
    write_all(table(read(claims, CLAIMS)), csv=csv, html=html, tex=tex, typ=typ)


if __name__ == "__main__":
    run_step(table_claims, snakemake, claims=snakemake.input.claims, **dict(snakemake.output.items()))
