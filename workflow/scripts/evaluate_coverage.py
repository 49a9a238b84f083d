"""Hold claimed intervals against the measured end-to-end latencies."""

from collections.abc import Sequence

from tilecast.base.job import run_step
from tilecast.evaluate.coverage import coverage_table, interval_cells
from tilecast.tables.declared.evaluation import COVERAGE, ERRORS, INTERVAL_CELLS
from tilecast.tables.declared.predict import INTERVALS
from tilecast.tables.io import read, write


def evaluate_coverage(errors: str, intervals: Sequence[str], confidence: float, coverage: str, cells: str) -> None:
    """Write the coverage of every group of cells, and where in its interval each measurement lies."""
    claimed = interval_cells(read(errors, ERRORS), [read(path, INTERVALS) for path in intervals])
    write(claimed, cells, INTERVAL_CELLS)
    write(coverage_table(claimed, confidence), coverage, COVERAGE)


if __name__ == "__main__":
    run_step(
        evaluate_coverage,
        snakemake,
        errors=snakemake.input.errors,
        intervals=list(snakemake.input.intervals),
        confidence=snakemake.params.confidence,
        coverage=snakemake.output.coverage,
        cells=snakemake.output.cells,
    )
