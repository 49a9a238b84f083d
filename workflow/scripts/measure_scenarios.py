"""Forecast the named scenarios, with and without communication, and hold them against what others measured."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.scenarios import evaluate, read_scenarios
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.declared.measured import SCENARIOS
from tilecast.tables.io import read, write


def measure_scenarios(scenarios: str, weights: str, labels: str, lists: list[str], output: str) -> None:
    """Write the table of scenarios."""
    traced = {Path(path).stem: Path(path) for path in lists}
    predictor = Tilecast.load(Path(weights).parent)
    table = evaluate(read_scenarios(Path(scenarios)), predictor, read(labels, LABELS), traced)
    write(table, output, SCENARIOS)
    print(f"{len(table)} scenarios, {int((table['outcome'] == 'failed').sum())} failed")


if __name__ == "__main__":
    run_step(
        measure_scenarios,
        snakemake,
        scenarios=snakemake.input.scenarios,
        weights=snakemake.input.weights,
        labels=snakemake.input.labels,
        lists=list(snakemake.input.lists),
        output=snakemake.output[0],
    )
