"""The end-to-end figures transcribed from the artifact, for use where the artifact itself cannot be had.

`python -m tilecast.artifact.published results/artifact/neusight.zip` writes resources/published/end_to_end.csv and
devices.csv anew from a fetched archive, so that anyone can check the transcription.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd

from tilecast.artifact import cells, names
from tilecast.artifact.store import load
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.paths import PUBLISHED
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import DEVICES, LABELS, PREDICTIONS, TRANSCRIPTION
from tilecast.tables.io import check, write

COMMIT = "6945927d9afcca2b9daf021f8395e53edc5b4eef"
MEASURED = "measured"
PARTS = ("latency_ms", "forward_ms", "backward_ms")
COLUMNS = (*CELL_KEY, "predictor", *PARTS, "commit", "folder")


def transcribe(archive: str | os.PathLike[str], folder: Path) -> None:
    """Write end_to_end.csv (six significant digits) and devices.csv into `folder` from a fetched archive."""
    files = load(archive, names.LABELS, names.PREDICTIONS, names.DEVICES, *names.TRAINING_DEVICES)
    rows = pd.concat([cells.read_labels(files).assign(predictor=MEASURED), cells.read_predictions(files)])
    rows["commit"] = COMMIT
    rows["folder"] = rows["source"].str.rsplit("/", n=1).str[0]
    rows = rows.sort_values([*CELL_KEY, "predictor"])[list(COLUMNS)]
    write(rows, folder / "end_to_end.csv", TRANSCRIPTION, significant=6)
    write(cells.read_devices(files), folder / "devices.csv", DEVICES)


def read_published(path: str | os.PathLike[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `labels` and `predictions` tables from a transcription."""
    try:
        rows = pd.read_csv(path, keep_default_na=False, na_values=[""], index_col=False)
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read as a table ({error})") from None
    missing = [name for name in COLUMNS if name not in rows]
    if missing:
        raise InputError(path, f"column {', '.join(missing)} is missing")
    rows["source"] = rows["folder"]
    measured = rows["predictor"] == MEASURED
    labels = rows[measured].assign(layers=0)[[*CELL_KEY, *PARTS, "layers", "source"]]
    predictions = rows[~measured][["predictor", *CELL_KEY, *PARTS, "source"]].sort_values(["predictor", *CELL_KEY])
    return check(labels, LABELS, path), check(predictions, PREDICTIONS, path)


if __name__ == "__main__":
    try:
        transcribe(sys.argv[1] if len(sys.argv) > 1 else "results/artifact/neusight.zip", PUBLISHED)
    except TilecastError as error:
        raise SystemExit(f"tilecast: error: {error}") from None
