"""Forecast every cell of the artifact's NVIDIA GPUs with NeuSight, retrained."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.hardware.device import specifications
from tilecast.predict.artifact_graphs import forecast_artifact
from tilecast.predict.baselines.neusight import NeuSight
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import read


def predict_neusight(weights: str, graphs: str, labels: str, devices: str, outputs: Mapping[str, str]) -> None:
    """Write predictions of cells and operators, intervals, and what bounds the kernels."""
    known = specifications("neusight", read(devices, DEVICES))
    predictor = NeuSight.load(Path(weights).parent)
    forecast_artifact(predictor, graphs, labels, known, ("NVIDIA",), outputs)
    print(f"kernels whose utilisation fell to zero and that therefore cost 0 ms: {predictor.clamped}")


if __name__ == "__main__":
    run_step(
        predict_neusight,
        snakemake,
        weights=snakemake.input.weights,
        graphs=snakemake.input.graphs,
        labels=snakemake.input.labels,
        devices=snakemake.input.devices,
        outputs=dict(snakemake.output.items()),
    )
