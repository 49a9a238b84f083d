"""Forecast every cell of the artifact with one predictor."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.predict.artifact_graphs import forecast_artifact
from tilecast.predict.registry import load_predictor, specifications
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import read


def predict(
    name: str,
    kind: str,
    weights: str,
    graphs: str,
    layers: str,
    devices: str,
    added: list[str],
    outputs: Mapping[str, str],
) -> None:
    """Write predictions of cells and operators, intervals, and what bounds the kernels.

    `added` are device files beside those shipped.
    """
    predictor = load_predictor(name, Path(weights).parent if weights else None, kind)
    known = specifications(predictor, read(devices, DEVICES), added)
    forecast_artifact(predictor, graphs, layers, known, outputs)


if __name__ == "__main__":
    run_step(
        predict,
        snakemake,
        name=snakemake.wildcards.predictor,
        kind=snakemake.params.kind,
        weights=str(snakemake.input.weights),
        graphs=snakemake.input.graphs,
        layers=snakemake.input.layers,
        devices=snakemake.input.devices,
        added=list(snakemake.input.added),
        outputs=dict(snakemake.output.items()),
    )
