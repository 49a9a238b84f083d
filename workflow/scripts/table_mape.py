"""Writes the paper table `mape`."""

from tilecast.base.job import run_step
from tilecast.present.paper.mape import table
from tilecast.present.paper.render import write_all
from tilecast.tables.declared.evaluation import MAPE
from tilecast.tables.io import read


def table_mape(mape: str, csv: str, html: str, tex: str, typ: str) -> None:
    """The table in its four forms."""
    write_all(table(read(mape, MAPE)), csv=csv, html=html, tex=tex, typ=typ)


if __name__ == "__main__":
    run_step(table_mape, snakemake, mape=snakemake.input.mape, **dict(snakemake.output.items()))
