"""Recompute the artifact's own summary tables and compare them cell by cell."""

from tilecast.artifact.names import SUMMARIES
from tilecast.artifact.store import load
from tilecast.base.job import run_step
from tilecast.evaluate.summaries import compare_summaries
from tilecast.tables.declared.artifact import LABELS, PREDICTIONS
from tilecast.tables.declared.evaluation import OPERATOR_CELLS, SUMMARY_COMPARISON
from tilecast.tables.io import read, write


def evaluate_summaries(archive: str, labels: str, predictions: str, operators: str, output: str) -> None:
    """Write published beside recomputed figures, with the cause of every difference."""
    compared = compare_summaries(
        load(archive, SUMMARIES),
        read(labels, LABELS),
        read(predictions, PREDICTIONS),
        read(operators, OPERATOR_CELLS),
    )
    write(compared, output, SUMMARY_COMPARISON)
    print(f"{len(compared)} figures compared, {int(compared['equal'].sum())} equal")


if __name__ == "__main__":
    run_step(
        evaluate_summaries,
        snakemake,
        archive=snakemake.input.archive,
        labels=snakemake.input.labels,
        predictions=snakemake.input.predictions,
        operators=snakemake.input.operators,
        output=snakemake.output[0],
    )
