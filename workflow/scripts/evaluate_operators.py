"""Compare predicted with measured operators, and measured operators with the measured whole."""

from collections.abc import Sequence

from tilecast.base.job import run_step
from tilecast.evaluate.errors import together
from tilecast.evaluate.operators import by_consistency, label_noise, operator_cells
from tilecast.evaluate.statistics import error_table
from tilecast.tables.declared.artifact import LABELS, OPERATOR_LABELS, OPERATOR_PREDICTIONS
from tilecast.tables.declared.evaluation import (
    ERRORS,
    LABEL_NOISE,
    LABEL_NOISE_MAPE,
    OPERATOR_CELLS,
    OPERATOR_ERRORS,
)
from tilecast.tables.io import read, write


def evaluate_operators(
    operator_labels: str,
    operator_predictions: Sequence[str],
    labels: str,
    errors: str,
    resamples: int,
    confidence: float,
    seed: int,
    cells: str,
    operator_errors: str,
    noise: str,
    noise_mape: str,
) -> None:
    """Write the errors by operator class, the consistency of the labels, and the errors with and without."""
    measured = read(operator_labels, OPERATOR_LABELS)
    predicted = together(
        [read(path, OPERATOR_PREDICTIONS) for path in operator_predictions], ", ".join(operator_predictions)
    )
    by_cell = operator_cells(measured, predicted)
    write(by_cell, cells, OPERATOR_CELLS)
    resampling = {"resamples": resamples, "confidence": confidence, "seed": seed}
    write(error_table(by_cell, OPERATOR_ERRORS, **resampling), operator_errors, OPERATOR_ERRORS)
    consistency = label_noise(read(labels, LABELS), measured)
    write(consistency, noise, LABEL_NOISE)
    compared = by_consistency(read(errors, ERRORS), consistency)
    write(error_table(compared, LABEL_NOISE_MAPE, **resampling), noise_mape, LABEL_NOISE_MAPE)


if __name__ == "__main__":
    run_step(
        evaluate_operators,
        snakemake,
        operator_labels=snakemake.input.operator_labels,
        operator_predictions=list(snakemake.input.operator_predictions),
        labels=snakemake.input.labels,
        errors=snakemake.input.errors,
        resamples=snakemake.params.resamples,
        confidence=snakemake.params.confidence,
        seed=snakemake.params.seed,
        cells=snakemake.output.cells,
        operator_errors=snakemake.output.errors,
        noise=snakemake.output.noise,
        noise_mape=snakemake.output.noise_mape,
    )
