"""Errors of the same forecasts on kernels traced here and on the artifact's graphs, side by side."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tilecast.base.job import run_step
from tilecast.evaluate.errors import cell_errors
from tilecast.evaluate.statistics import error_table
from tilecast.predict.model import forecast_traced, read_traced
from tilecast.predict.registry import load_predictor, specifications
from tilecast.tables.declared.artifact import DEVICES, LABELS, PREDICTIONS
from tilecast.tables.declared.evaluation import ERRORS, MAPE, OWN_GRAPHS
from tilecast.tables.io import read, write
from tilecast.tables.naming import vendor

KEY = ["predictor", "device", "mode", "option", "distribution"]


def evaluate_own_graphs(
    labels: str,
    graphs: list[str],
    devices: str,
    added: list[str],
    predictors: Mapping[str, str],
    weights: Mapping[str, Path],
    theirs: Mapping[str, str],
    resampling: Mapping[str, float],
    cells: str,
    mape: str,
) -> None:
    """Write the cells' errors on traced graphs, and the table of means with the artifact's graphs beside."""
    measured, stated, traced = read(labels, LABELS), read(devices, DEVICES), read_traced(graphs)
    nvidia = sorted(name for name in measured["device"].unique() if vendor(name) == "NVIDIA")
    parts = []
    for name, kind in predictors.items():
        predictor = load_predictor(name, weights.get(name), kind)
        known = specifications(predictor, stated, added)
        parts.append(forecast_traced(predictor, traced, {device: known[device] for device in nvidia}))
    own = cell_errors(measured, pd.concat(parts, ignore_index=True))
    others = cell_errors(measured, pd.concat([read(path, PREDICTIONS) for path in theirs.values()]))
    cell = [*KEY[:3], "model", "sequence_length", "batch_size", "option"]
    if len(others):  # the same cells on both sides
        own, others = own.merge(others[cell], on=cell), others.merge(own[cell], on=cell)
    columns = [*KEY, "n", "mape_percent", "bias_percent"]
    table, beside = (error_table(errors, MAPE, **resampling)[columns] for errors in (own, others))
    table = table.merge(beside.drop(columns="n"), on=KEY, how="left", suffixes=("", "_artifact"))
    write(own, cells, ERRORS)
    write(table, mape, OWN_GRAPHS)
    for row in table[(table[["device", "mode", "distribution"]] == "all").all(axis=1)].itertuples():
        figures = f"{row.mape_percent:.2f} % on traced graphs, {row.mape_percent_artifact:.2f} % on the artifact's"
        print(f"{row.predictor} {row.option}: {figures} (n={row.n})")


if __name__ == "__main__":
    run_step(
        evaluate_own_graphs,
        snakemake,
        labels=snakemake.input.labels,
        graphs=list(snakemake.input.graphs),
        devices=snakemake.input.devices,
        added=list(snakemake.input.added),
        predictors=snakemake.params.predictors,
        weights={name: Path(snakemake.input[name]).parent for name in snakemake.params.trained},
        theirs={name: snakemake.input[f"{name}_cells"] for name in snakemake.params.predictors},
        resampling=snakemake.params.resampling,
        cells=snakemake.output.cells,
        mape=snakemake.output.mape,
    )
