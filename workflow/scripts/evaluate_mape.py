"""Summarise the errors by predictor, device, mode, option and distribution."""

from tilecast.base.job import run_step
from tilecast.evaluate.statistics import error_table
from tilecast.tables.declared.evaluation import ERRORS, MAPE, PHASE_ERRORS, PHASE_MAPE
from tilecast.tables.io import read, write


def evaluate_mape(
    errors: str, phase_errors: str, resamples: int, confidence: float, seed: int, mape: str, phase_mape: str
) -> None:
    """Write the statistics of every group of cells, and of every group of passes."""
    for source, cells, target, table in (
        (errors, ERRORS, mape, MAPE),
        (phase_errors, PHASE_ERRORS, phase_mape, PHASE_MAPE),
    ):
        found = error_table(read(source, cells), table, resamples=resamples, confidence=confidence, seed=seed)
        write(found, target, table)


if __name__ == "__main__":
    run_step(
        evaluate_mape,
        snakemake,
        errors=snakemake.input.errors,
        phase_errors=snakemake.input.phases,
        resamples=snakemake.params.resamples,
        confidence=snakemake.params.confidence,
        seed=snakemake.params.seed,
        mape=snakemake.output.mape,
        phase_mape=snakemake.output.phases,
    )
