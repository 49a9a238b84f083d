"""Forecast the artifact's cells without each constant that was chosen after an evaluation on held-out data."""

from pathlib import Path

from tilecast.base.job import run_step
from tilecast.evaluate.ablation import ablation
from tilecast.evaluate.constants import constants
from tilecast.evaluate.goals import PLAIN
from tilecast.predict.artifact_graphs import layers_by_model, workloads
from tilecast.predict.registry import load_predictor, specifications
from tilecast.tables.declared.artifact import DEVICES, GRAPHS, LABELS
from tilecast.tables.declared.evaluation import ABLATION, ERRORS, EVALUATIONS
from tilecast.tables.declared.predict import CONSTANTS
from tilecast.tables.io import empty, read, write


def evaluate_ablation(
    weights: str,
    graphs: str,
    layers: str,
    devices: str,
    labels: str,
    errors: str,
    evaluations: str,
    output: str,
    registry: str,
) -> None:
    """Write the errors without each constant, and the table of all constants."""
    write(constants(), registry, CONSTANTS)
    cells = read(graphs, GRAPHS)
    if cells.empty:  # transcribed figures alone
        write(empty(ABLATION), output, ABLATION)
        return
    predictor = load_predictor("tilecast", Path(weights).parent)
    work = workloads(cells[cells["option"] == PLAIN["option"]], layers_by_model(layers))
    known = specifications(predictor, read(devices, DEVICES))
    recorded = read(evaluations, EVALUATIONS)
    table = ablation(predictor, work, known, read(labels, LABELS), read(errors, ERRORS), recorded)
    write(table, output, ABLATION)
    print(table[["variant", "mape_percent"]].to_string(index=False))


if __name__ == "__main__":
    run_step(
        evaluate_ablation,
        snakemake,
        **{
            name: str(snakemake.input[name])
            for name in ("weights", "graphs", "layers", "devices", "labels", "errors", "evaluations")
        },
        output=snakemake.output.ablation,
        registry=snakemake.output.constants,
    )
