"""Compare every prediction with its label."""

from collections.abc import Sequence

from tilecast.base.job import run_step
from tilecast.evaluate.errors import cell_errors, phase_errors, together
from tilecast.tables.declared.artifact import LABELS, PREDICTIONS
from tilecast.tables.declared.evaluation import ERRORS, PHASE_ERRORS
from tilecast.tables.io import read, write


def evaluate_errors(labels: str, predictions: Sequence[str], errors: str, phases: str) -> None:
    """Write the errors of whole cells, and those of forward and backward passes."""
    measured = read(labels, LABELS)
    predicted = together([read(path, PREDICTIONS) for path in predictions], ", ".join(predictions))
    write(cell_errors(measured, predicted), errors, ERRORS)
    write(phase_errors(measured, predicted), phases, PHASE_ERRORS)


if __name__ == "__main__":
    run_step(
        evaluate_errors,
        snakemake,
        labels=snakemake.input.labels,
        predictions=list(snakemake.input.predictions),
        errors=snakemake.output.errors,
        phases=snakemake.output.phases,
    )
