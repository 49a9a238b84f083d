"""Tidy the end-to-end latencies and the devices; transcribed ones where nothing could be fetched."""

from tilecast.artifact import cells, names
from tilecast.artifact.cells import with_label_files
from tilecast.artifact.published import read_published
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import DEVICES, LABELS, PREDICTIONS
from tilecast.tables.io import read, write


def tidy_end_to_end(
    archive: str,
    transcribed: str,
    transcribed_devices: str,
    added: list[str],
    labels: str,
    predictions: str,
    devices: str,
) -> None:
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
    measured = with_label_files(measured, added)
    print(f"{len(measured)} labels, {len(predicted)} predictions, {len(gpus)} devices")
    write(measured, labels, LABELS)
    write(predicted, predictions, PREDICTIONS)
    write(gpus, devices, DEVICES)


if __name__ == "__main__":
    run_step(
        tidy_end_to_end,
        snakemake,
        archive=snakemake.input.archive,
        transcribed=snakemake.input.transcribed,
        transcribed_devices=snakemake.input.transcribed_devices,
        added=snakemake.input.added,
        labels=snakemake.output.labels,
        predictions=snakemake.output.predictions,
        devices=snakemake.output.devices,
    )
