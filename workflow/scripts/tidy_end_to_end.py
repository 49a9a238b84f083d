"""Tidy the artifact's predictions, devices and numbers of layers; transcribed ones where nothing was fetched."""

import pandas as pd

from tilecast.artifact import cells, names
from tilecast.artifact.labels import layers_of
from tilecast.artifact.published import read_published
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import DEVICES, LAYERS, PREDICTIONS
from tilecast.tables.io import read, write


def tidy_end_to_end(
    archive: str,
    transcribed: str,
    transcribed_devices: str,
    added: list[dict[str, object]],
    predictions: str,
    devices: str,
    layers: str,
) -> None:
    """`added` are rows of GPUs that users' labels name."""
    files = load(archive, names.LABELS, names.PREDICTIONS, names.DEVICES, *names.TRAINING_DEVICES)
    if files:
        measured, predicted, gpus = (
            cells.read_labels(files),
            cells.read_predictions(files),
            cells.read_devices(files),
        )
    else:
        measured, predicted = read_published(transcribed)
        gpus = read(transcribed_devices, DEVICES)
    if added:
        gpus = pd.concat([gpus, pd.DataFrame(added)])
    print(f"{len(predicted)} predictions, {len(gpus)} devices")
    write(predicted, predictions, PREDICTIONS)
    write(gpus, devices, DEVICES)
    write(layers_of(measured), layers, LAYERS)


if __name__ == "__main__":
    run_step(
        tidy_end_to_end,
        snakemake,
        archive=snakemake.input.archive,
        transcribed=snakemake.input.transcribed,
        transcribed_devices=snakemake.input.transcribed_devices,
        added=snakemake.params.added,
        predictions=snakemake.output.predictions,
        devices=snakemake.output.devices,
        layers=snakemake.output.layers,
    )
