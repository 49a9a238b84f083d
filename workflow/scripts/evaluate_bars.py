"""Hold this project's forecasts against the bars it set itself."""

from tilecast.base.job import run_step
from tilecast.evaluate.bars import bars_table
from tilecast.tables.declared.evaluation import ERRORS, OPERATOR_CELLS, PHASE_ERRORS
from tilecast.tables.io import read, write_free


def evaluate_bars(errors: str, phases: str, operators: str, output: str) -> None:
    """Write one row a bar."""
    cells = read(operators, OPERATOR_CELLS)
    table = bars_table(read(errors, ERRORS), read(phases, PHASE_ERRORS), cells)
    print(", ".join(f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items()))
    write_free(table, output)


if __name__ == "__main__":
    run_step(
        evaluate_bars,
        snakemake,
        errors=snakemake.input.errors,
        phases=snakemake.input.phases,
        operators=snakemake.input.operators,
        output=snakemake.output[0],
    )
