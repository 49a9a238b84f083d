"""Coverage of the predictors' intervals: the share of measurements inside, their width, the width needed.

Plain single-GPU cells only: no predictor states an interval for overlapped communication.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tilecast.evaluate.errors import SEEN_DEVICES
from tilecast.evaluate.statistics import Statistics, binomial_interval, inside, rolled_up
from tilecast.predict.interval import LEVEL
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import COVERAGE, INTERVAL_CELLS
from tilecast.tables.io import check, empty
from tilecast.tables.naming import vendor

SEEN, UNSEEN = "in training", "held out"
CLAIMED_PERCENT = 100 * LEVEL


def interval_cells(errors: pd.DataFrame, intervals: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The `interval_cells` table: every measured plain cell whose predictor claims an interval."""
    claimed = [frame.dropna(subset=["low_ms", "high_ms"]) for frame in intervals]
    claimed = [frame for frame in claimed if len(frame)]
    plain = errors[errors["option"] == "none"].drop(columns="ape_percent")
    if not claimed or plain.empty:
        return empty(INTERVAL_CELLS)
    key = ["predictor", *CELL_KEY]
    cells = plain.merge(pd.concat(claimed, ignore_index=True), on=key).sort_values(key, kind="stable")
    away = np.log(cells["measured_ms"] / cells["predicted_ms"])
    above = np.log(cells["high_ms"] / cells["predicted_ms"])
    below = np.log(cells["predicted_ms"] / cells["low_ms"])
    cells["position"] = away / np.where(away > 0, above, below)
    return check(cells, INTERVAL_CELLS, "interval_cells table")


def coverage_table(cells: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The `coverage` table: predictor x device x GPU in training or not x mode x distribution."""
    if cells.empty:
        return empty(COVERAGE)
    # No kernels of AMD's GPUs can be fetched: no predictor here has seen one, whatever the artifact's own did.
    seen = cells["device"].isin(SEEN_DEVICES) & (cells["device"].map(vendor) == "NVIDIA")
    known = cells.assign(gpu=seen.map({True: SEEN, False: UNSEEN}))
    needed = ("measured_ms", "predicted_ms", "low_ms", "high_ms", "position")
    found = rolled_up(known, COVERAGE.key, needed, lambda part: _statistics(part, confidence))
    return check(found, COVERAGE, "coverage table")


def _statistics(cells: pd.DataFrame, confidence: float) -> Statistics:
    """How many measurements of a group lie inside, and how wide its intervals are."""
    hits = int(inside(cells["measured_ms"], cells["low_ms"], cells["high_ms"]).sum())
    low, high = binomial_interval(hits, len(cells), confidence)
    return {
        "n": len(cells),
        "claimed_percent": CLAIMED_PERCENT,
        "inside": hits,
        "coverage_percent": 100 * hits / len(cells),
        "ci_low": low,
        "ci_high": high,
        "width_percent": float((100 * (cells["high_ms"] - cells["low_ms"]) / cells["predicted_ms"]).mean()),
        "half_widths_needed": float(cells["position"].abs().quantile(LEVEL)),
    }
