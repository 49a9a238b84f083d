"""The table of the expert-parallel study: every system and strategy, in three readings."""

from __future__ import annotations

import pandas as pd

from tilecast.moe.names import STRATEGIES
from tilecast.present.paper.model import PaperTable, or_why
from tilecast.tables.declared.moe import SYSTEMS

MODES = {"as_published": "as published", "as_described": "as described", "physical": "physical"}
CANNOT = "cannot run"
NOT_MODELLED = "not modelled"
SHOWN = {  # column of the paper table -> column of the study's
    "mode": "mode",
    "system": "system",
    "strategy": "strategy",
    "spread": "spread",
    "experts": "verdict",
    "baseline": "baseline_tokens_per_s",
    "prophet": "prophet_tokens_per_s",
    "speedup": "speedup",
    "communication": "baseline_communication_percent",
    "waiting": "baseline_waiting_percent",
    "before": "baseline_usd_per_million_tokens",
    "after": "prophet_usd_per_million_tokens",
}


def table(systems: pd.DataFrame) -> PaperTable:
    """A row a reading, system and strategy, in the study's order."""
    rows = []
    for row in systems.to_dict("records"):
        why = CANNOT if row["verdict"] == "impossible" else NOT_MODELLED
        about = {"mode": MODES[row["mode"]], "strategy": STRATEGIES[row["strategy"]]}
        rows.append({name: about.get(column, or_why(row[column], why)) for name, column in SHOWN.items()})
    resident = int((systems["verdict"] == "resident").sum())
    return PaperTable(
        "moe-systems",
        "Expert prefetching on several systems, as published and as physics allows",
        f"Communication and waiting for the host: shares of the baseline's time. Of the physical rows {resident} "
        "hold all experts in GPU memory.",
        {name: SYSTEMS.columns[column] for name, column in SHOWN.items()},
        tuple(rows),
    )
