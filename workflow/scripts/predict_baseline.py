"""Forecast every cell of the artifact with one of the baselines: roofline, Li et al., Habitat."""

from collections.abc import Mapping
from pathlib import Path

from tilecast.base.job import run_step
from tilecast.hardware.device import specifications
from tilecast.predict.artifact_graphs import forecast_artifact
from tilecast.predict.baselines.habitat import Habitat
from tilecast.predict.baselines.li import Li
from tilecast.predict.baselines.roofline import Roofline
from tilecast.tables.declared.artifact import DEVICES
from tilecast.tables.io import read


def predict_baseline(
    name: str, weights: str | None, graphs: str, labels: str, devices: str, outputs: Mapping[str, str]
) -> None:
    """Write predictions of cells and operators, intervals, and what bounds the kernels."""
    known = specifications(name, read(devices, DEVICES))
    if weights is None:
        forecast_artifact(Roofline(), graphs, labels, known, ("NVIDIA", "AMD"), outputs)
        return
    kind = {"li": Li, "habitat": Habitat}[name]
    forecast_artifact(kind.load(Path(weights).parent), graphs, labels, known, ("NVIDIA",), outputs)


if __name__ == "__main__":
    run_step(
        predict_baseline,
        snakemake,
        name=snakemake.wildcards.baseline,
        weights=str(snakemake.input.weights) or None,
        graphs=snakemake.input.graphs,
        labels=snakemake.input.labels,
        devices=snakemake.input.devices,
        outputs=dict(snakemake.output.items()),
    )
