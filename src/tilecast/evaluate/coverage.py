"""Do claimed intervals hold: how many measurements lie inside, how wide they are, how wide they had to be.

Plain single-GPU cells only: what an interval of overlapped communication would be, no predictor here claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import NormalDist

import numpy as np
import pandas as pd

from tilecast.evaluate.errors import SEEN_DEVICES
from tilecast.predict.interval import LEVEL
from tilecast.tables.io import check, empty
from tilecast.tables.naming import vendor
from tilecast.tables.schema import CELL_KEY

ALL = "all"
SEEN, UNSEEN = "in training", "held out"
CLAIMED_PERCENT = 100 * LEVEL


def binomial_interval(inside: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share in percent: it neither collapses at all or none inside, nor leaves 0 to 100."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = inside / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * ((share * (1 - share) + spread / 4) / n) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def interval_cells(errors: pd.DataFrame, intervals: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The `interval_cells` table: every measured plain cell whose predictor claims an interval."""
    claimed = [frame.dropna(subset=["low_ms", "high_ms"]) for frame in intervals]
    claimed = [frame for frame in claimed if len(frame)]
    plain = errors[errors["option"] == "none"].drop(columns="ape_percent")
    if not claimed or plain.empty:
        return empty("interval_cells")
    key = ["predictor", *CELL_KEY]
    cells = plain.merge(pd.concat(claimed, ignore_index=True), on=key).sort_values(key, kind="stable")
    away = np.log(cells["measured_ms"] / cells["predicted_ms"])
    above = np.log(cells["high_ms"] / cells["predicted_ms"])
    below = np.log(cells["predicted_ms"] / cells["low_ms"])
    cells["position"] = away / np.where(away > 0, above, below)
    return check(cells, "interval_cells", "interval_cells table")


def coverage_table(cells: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """The `coverage` table: predictor x device x GPU in training or not x mode x distribution."""
    if cells.empty:
        return empty("coverage")
    makers = cells["device"].map(vendor)
    # No kernels of AMD's GPUs can be fetched: no predictor here has seen one, whatever the artifact's own did.
    known = {
        "predictor": cells["predictor"],
        "device": cells["device"],
        "gpu": (cells["device"].isin(SEEN_DEVICES) & (makers == "NVIDIA")).map({True: SEEN, False: UNSEEN}),
        "mode": cells["mode"],
        "distribution": cells["distribution"],
    }
    choices = []
    for name, values in known.items():
        masks = {str(value): (values == value).to_numpy() for value in values.unique()}
        if name == "device":
            masks |= {str(maker): (makers == maker).to_numpy() for maker in makers.unique()}
        if name != "predictor":
            masks[ALL] = np.ones(len(cells), dtype=bool)
        choices.append(sorted(masks.items()))
    rows = []
    for choice in product(*choices):
        chosen = np.logical_and.reduce([mask for _, mask in choice])
        if chosen.any():
            names = dict(zip(known, (value for value, _ in choice), strict=True))
            rows.append(names | _statistics(cells[chosen], confidence))
    return check(pd.DataFrame(rows), "coverage", "coverage table")


def _statistics(cells: pd.DataFrame, confidence: float) -> dict[str, float]:
    inside = int(cells["measured_ms"].between(cells["low_ms"], cells["high_ms"]).sum())
    low, high = binomial_interval(inside, len(cells), confidence)
    return {
        "n": len(cells),
        "claimed_percent": CLAIMED_PERCENT,
        "inside": inside,
        "coverage_percent": 100 * inside / len(cells),
        "ci_low": low,
        "ci_high": high,
        "width_percent": float((100 * (cells["high_ms"] - cells["low_ms"]) / cells["predicted_ms"]).mean()),
        "half_widths_needed": float(cells["position"].abs().quantile(LEVEL)),
    }
