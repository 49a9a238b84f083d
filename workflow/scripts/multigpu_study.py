"""Forecast the worked examples of many GPUs: layouts searched, costs, serving, scaling, sensitivity."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.base.paths import WEIGHTS
from tilecast.hardware.price import load_prices
from tilecast.planner.study import load_study, tables
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.multigpu import STUDY
from tilecast.tables.io import write


def multigpu_study(study: str, prices: str, outputs: list[str]) -> None:
    """Write each table to the output of its name."""
    found = tables(load_study(study), Tilecast.load(WEIGHTS / "tilecast"), load_prices(prices))
    for output in outputs:
        write(found[Path(output).stem], output, STUDY[Path(output).stem])


if __name__ == "__main__":
    run_step(
        multigpu_study,
        snakemake,
        study=snakemake.input.study,
        prices=snakemake.input.prices,
        outputs=list(snakemake.output),
    )
