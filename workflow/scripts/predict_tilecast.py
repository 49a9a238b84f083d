"""Forecast every cell of the artifact with this project's own predictor."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.hardware.device import specifications
from tilecast.predict.artifact_graphs import forecast_artifact
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import read


def predict_tilecast(weights: str, graphs: str, labels: str, devices: str, outputs: Mapping[str, str]) -> None:
    """Write predictions of cells and operators, intervals, and what bounds the kernels."""
    known = specifications("tilecast", read(devices, DEVICES))
    predictor = Tilecast.load(Path(weights).parent)
    forecast_artifact(predictor, graphs, labels, known, ("NVIDIA", "AMD"), outputs)


if __name__ == "__main__":
    run_step(
        predict_tilecast,
        snakemake,
        weights=snakemake.input.weights,
        graphs=snakemake.input.graphs,
        labels=snakemake.input.labels,
        devices=snakemake.input.devices,
        outputs=dict(snakemake.output.items()),
    )
