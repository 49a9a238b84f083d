"""Hold the intervals of every suite against chance and against a constant width."""

import pandas as pd

from tilecast.base.job import run_step
from tilecast.evaluate.serving_intervals import judged_ends
from tilecast.evaluate.suites import (
    cells_rows,
    collective_rows,
    counted_kernels,
    serving_rows,
    step_rows,
    suite_table,
)
from tilecast.tables.declared.evaluation import INTERVAL_CELLS, INTERVAL_SUITES, KERNEL_ERRORS
from tilecast.tables.declared.half_precision import PROTOCOL, SERVING
from tilecast.tables.declared.multigpu import COLLECTIVES, VALIDATION
from tilecast.tables.io import read, write


def evaluate_intervals(
    cells: str, kernels: str, protocol: str, serving: str, steps: str, collectives: str, suites: str
) -> None:
    """Write the share inside, its band of chance and its score, by suite and group."""
    parts = [
        cells_rows(read(cells, INTERVAL_CELLS)),
        step_rows(read(steps, VALIDATION)),
        serving_rows(read(serving, SERVING), judged_ends),
        collective_rows(read(collectives, COLLECTIVES)),
    ]
    counted = counted_kernels(read(kernels, KERNEL_ERRORS), read(protocol, PROTOCOL))
    write(suite_table(pd.concat(parts), counted), suites, INTERVAL_SUITES)


if __name__ == "__main__":
    run_step(evaluate_intervals, snakemake, **snakemake.input, suites=snakemake.output.suites)
