"""The authors' own weights, executed by the re-implementation, beside the predictions that they stored."""

from __future__ import annotations

import pandas as pd

from tilecast.base.statistics import error_percent
from tilecast.evaluate.goals import THEIRS
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import SAME_WEIGHTS
from tilecast.tables.io import check

WITHIN = (0.1, 1.0, 10.0)  # percent


def same_weights(stored: pd.DataFrame, executed: pd.DataFrame) -> pd.DataFrame:
    """The `same_weights` table: every cell that both have, and how far executed and stored are apart."""
    cell = list(CELL_KEY)
    theirs = stored[stored["predictor"] == THEIRS].set_index(cell)["latency_ms"].rename("stored_ms")
    ours = executed.set_index(cell)["latency_ms"].rename("executed_ms")
    table = pd.concat([theirs, ours], axis=1, join="inner").reset_index()
    table["difference_percent"] = error_percent(table["executed_ms"], table["stored_ms"])
    return check(table[list(SAME_WEIGHTS.columns)], SAME_WEIGHTS, "same_weights table")


def agreement(table: pd.DataFrame) -> str:
    """One line for the log: how many cells agree within each of `WITHIN`, and the worst."""
    if table.empty:
        return "the artifact as fetched has not all of the authors' weights: nothing was executed"
    off = table["difference_percent"].abs()
    counts = ", ".join(f"{int((off <= percent).sum())} within {percent:g} %" for percent in WITHIN)
    return f"the authors' weights executed in {len(table)} cells: {counts}; worst {off.max():.3g} %"
