"""Runs of a locality study summarised by cell, and the guide's penalties held against forecast intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilecast.locality.guide import CLAIMED_PENALTIES
from tilecast.locality.host import OPEN

if TYPE_CHECKING:
    import pandas as pd


def by_cell(runs: pd.DataFrame, profiles: pd.DataFrame) -> list[dict[str, Any]]:
    """How many runs of each cell succeeded, their throughput, and what its profile shows."""
    profiled = profiles.set_index("cell")
    rows = []
    for cell, mine in runs.groupby("cell", sort=False):
        done = mine[mine["status"] == "ok"]
        rates = done["samples_per_s"]
        rows.append(
            {
                "cell": cell,
                "runs": len(mine),
                "ok": 100 * len(done) / len(mine),
                "samples_per_s": float(rates.median()),
                "low": float(rates.min()),
                "high": float(rates.max()),
                "placement": next(iter(done["placement"].dropna()), None),
                "reason": next(iter(mine["reason"].dropna()), None),
                "overlap_percent": profiled["overlap_percent"].get(cell),
                "busy_percent": profiled["busy_percent"].get(cell),
            }
        )
    return rows


def possible(predicted: pd.DataFrame) -> dict[str, int]:
    """By kind of host memory: models whose penalty the guide gives and the open host's interval reaches."""
    plain = predicted[(predicted["host"] == OPEN) & (predicted["dtype"] == "fp32") & ~predicted["compiled"]]
    found = dict.fromkeys(plain["memory"], 0)
    for row in plain[plain["model"].isin(list(CLAIMED_PENALTIES))].to_dict("records"):
        low, high = CLAIMED_PENALTIES[row["model"]]
        found[row["memory"]] += row["low_percent"] <= high and row["high_percent"] >= low
    return found
