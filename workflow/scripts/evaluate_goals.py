"""Hold this project's forecasts against the goals it set itself."""

from tilecast.base.job import run_step
from tilecast.evaluate.goals import goals_table
from tilecast.tables.declared.evaluation import ERRORS, GOALS, OPERATOR_CELLS, PHASE_ERRORS
from tilecast.tables.io import read, write


def evaluate_goals(errors: str, phases: str, operators: str, output: str) -> None:
    """Write one row a goal."""
    cells = read(operators, OPERATOR_CELLS)
    table = goals_table(read(errors, ERRORS), read(phases, PHASE_ERRORS), cells)
    print(", ".join(f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items()))
    write(table, output, GOALS)


if __name__ == "__main__":
    run_step(
        evaluate_goals,
        snakemake,
        errors=snakemake.input.errors,
        phases=snakemake.input.phases,
        operators=snakemake.input.operators,
        output=snakemake.output[0],
    )
