"""The table of the expert-parallel study: every system and strategy, as published and as physics allows."""

from __future__ import annotations

import pandas as pd

from tilecast.moe.names import STRATEGIES
from tilecast.present.paper.model import Column, PaperTable, or_why

MODES = {"as_published": "as published", "physical": "physical"}
CANNOT = "cannot run"
NOT_MODELLED = "not modelled"


def table(systems: pd.DataFrame) -> PaperTable:
    """A row a reading, system and strategy, in the study's order."""
    rows = []
    for row in systems.to_dict("records"):
        why = CANNOT if row["verdict"] == "impossible" else NOT_MODELLED
        rows.append(
            {
                "mode": MODES[row["mode"]],
                "system": row["system"],
                "strategy": STRATEGIES[row["strategy"]],
                "spread": row["spread"],
                "experts": row["verdict"],
                "baseline": or_why(row["baseline_tokens_per_s"], why),
                "prophet": or_why(row["prophet_tokens_per_s"], why),
                "speedup": or_why(row["speedup"], why),
                "communication": or_why(row["baseline_communication_percent"], why),
                "waiting": or_why(row["baseline_waiting_percent"], why),
                "before": or_why(row["baseline_usd_per_million_tokens"], why),
                "after": or_why(row["prophet_usd_per_million_tokens"], why),
            }
        )
    resident = int((systems["verdict"] == "resident").sum())
    return PaperTable(
        "moe-systems",
        "Expert prefetching on several systems, as published and as physics allows",
        f"Communication and waiting for the host: shares of the baseline's time. Of the physical rows {resident} "
        "hold all experts in GPU memory.",
        (
            Column("mode", "Reading"),
            Column("system", "System"),
            Column("strategy", "Strategy"),
            Column("spread", "GPUs as"),
            Column("experts", "Experts"),
            Column("baseline", "Baseline", "tok/s", 3),
            Column("prophet", "Prophet", "tok/s", 3),
            Column("speedup", "Speedup", "", 3),
            Column("communication", "Communication", "%", 3),
            Column("waiting", "Waiting", "%", 3),
            Column("before", "Baseline", "$/1M", 3),
            Column("after", "Prophet", "$/1M", 3),
        ),
        tuple(rows),
    )
