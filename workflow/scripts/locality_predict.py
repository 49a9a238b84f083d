"""Forecasts what distance costs each model on each host, and does the guide's arithmetic."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tilecast.base.job import run_step
from tilecast.locality.compute import forecasts, wanted
from tilecast.locality.guide import HEAVY, arithmetic
from tilecast.locality.host import described_hosts
from tilecast.locality.model import predicted
from tilecast.locality.study import load_study
from tilecast.tables.declared.locality import ARITHMETIC, HOSTS, LIMITS, PREDICTED
from tilecast.tables.io import read, write


def locality_predict(
    hosts: str, limits: str, studies: Iterable[str], weights: str, output: str, sums: str
) -> None:
    """Every model of the studies that compare nodes, on every host whose rates are known or bounded."""
    places = described_hosts(read(hosts, HOSTS), read(limits, LIMITS))
    models = wanted(load_study(study) for study in studies)
    devices = list(dict.fromkeys(host.gpu for host in places))
    compute = forecasts(models, devices, Path(weights).parent)
    write(predicted(places, models, compute), output, PREDICTED)
    name, dtype, batch, compiled = next(key for key in models if key[:2] == (HEAVY, "fp32") and not key[3])
    rows = arithmetic(compute(devices[0], name, dtype, batch, compiled).flops / batch)
    write(pd.DataFrame(rows), sums, ARITHMETIC)


if __name__ == "__main__":
    run_step(
        locality_predict,
        snakemake,
        hosts=snakemake.input.hosts,
        limits=snakemake.input.limits,
        studies=snakemake.input.studies,
        weights=snakemake.input.weights,
        output=snakemake.output.predicted,
        sums=snakemake.output.arithmetic,
    )
