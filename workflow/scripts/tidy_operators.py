"""Tidy the per-operator latencies, measured and predicted."""

from tilecast.artifact import names
from tilecast.artifact.operators import read_operator_labels, read_operator_predictions
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.tables.declared.artifact import OPERATOR_LABELS, OPERATOR_PREDICTIONS
from tilecast.tables.io import write


def tidy_operators(archive: str, labels: str, predictions: str) -> None:
    write(read_operator_labels(load(archive, names.LABELS)), labels, OPERATOR_LABELS)
    write(read_operator_predictions(load(archive, names.PREDICTIONS)), predictions, OPERATOR_PREDICTIONS)


if __name__ == "__main__":
    run_step(
        tidy_operators,
        snakemake,
        archive=snakemake.input.archive,
        labels=snakemake.output.labels,
        predictions=snakemake.output.predictions,
    )
