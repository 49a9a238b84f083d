"""Hold forecasts of steps on many GPUs against what was measured."""

from pathlib import Path

import pandas as pd

from tilecast.base.job import run_step
from tilecast.evaluate.multigpu import scoreboard, sustained, validate
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.artifact import LABELS, PREDICTIONS
from tilecast.tables.declared.multigpu import SCOREBOARD, SUSTAINED, VALIDATION
from tilecast.tables.io import read, write


def multigpu_validation(
    labels: str,
    predictions: str,
    tables: list[str],
    traced: str,
    weights: str,
    cells: str,
    scores: str,
    slowed: str,
) -> None:
    """Forecast every case of every suite; write them, their means, and means by how runs are slowed."""
    model = Tilecast.load(Path(weights).parent)
    published = {Path(path).name: pd.read_csv(path) for path in tables}
    cases = validate(read(labels, LABELS), read(predictions, PREDICTIONS), published, model, traced)
    write(cases, cells, VALIDATION)
    write(scoreboard(cases), scores, SCOREBOARD)
    write(sustained(published, model, traced), slowed, SUSTAINED)


if __name__ == "__main__":
    run_step(
        multigpu_validation,
        snakemake,
        labels=snakemake.input.labels,
        predictions=snakemake.input.predictions,
        tables=snakemake.input.tables,
        traced=snakemake.input.traced,
        weights=snakemake.input.weights,
        cells=snakemake.output.cells,
        scores=snakemake.output.scores,
        slowed=snakemake.output.sustained,
    )
