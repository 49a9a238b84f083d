"""Errors of every predictor with what stands behind each mean."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tilecast.naming import DEVICES, DISTRIBUTIONS, MODES, OPTIONS_SHORT, PREDICTORS, display
from tilecast.report.render import Column
from tilecast.report.results import Results

UNDEFINED = "too few cells"
WHO = (Column("predictor", "Predictor"), Column("device", "GPU"), Column("mode", "Mode"))
STATISTICS = (
    Column("n", "n", digits=0),
    Column("mape_percent", "MAPE", "%", 1),
    Column("ci_low", "95 % from", "%", 1, UNDEFINED),
    Column("ci_high", "to", "%", 1, UNDEFINED),
    Column("median_percent", "Median", "%", 1),
    Column("p90_percent", "90th pct.", "%", 1),
    Column("worst_percent", "Worst", "%", 1),
    Column("bias_percent", "Bias", "%", 1),
    Column("pearson", "Pearson", digits=3, absent=UNDEFINED),
    Column("spearman", "Spearman", digits=3, absent=UNDEFINED),
)
NAMES = {
    "predictor": PREDICTORS,
    "device": DEVICES,
    "mode": MODES,
    "option": OPTIONS_SHORT,
    "distribution": DISTRIBUTIONS,
}


def named(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries with display names, in order of presentation, `all` first."""
    keys = [column for column in NAMES if column in frame.columns]
    ranks = {key: {"all": -1} | {name: place for place, name in enumerate(NAMES[key])} for key in keys}
    frame = frame.sort_values(
        keys, key=lambda column: column.map(ranks[str(column.name)]).fillna(99), kind="stable"
    )
    for key in keys:
        frame = frame.assign(**{key: frame[key].map(lambda name, key=key: display(NAMES[key], name))})
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def context(results: Results) -> dict[str, Any]:
    """Tables of errors, the most aggregated first."""
    mape = results.table("evaluation/mape.csv", "mape")
    assert mape is not None
    plain = mape[(mape["option"] == "none") & (mape["distribution"] == "all")]
    overall = plain["device"] == "all"
    return {
        "blocks": [
            _block("by-predictor", "By predictor", (WHO[0], WHO[2], *STATISTICS), named(plain[overall])),
            _block("by-device", "By predictor and GPU", (*WHO, *STATISTICS), named(plain[~overall])),
            _block(
                "all-groups",
                "Every group",
                (*WHO, Column("option", "Option"), Column("distribution", "Distribution"), *STATISTICS),
                named(mape),
                folded=True,
            ),
        ]
    }


def _block(
    name: str,
    title: str,
    columns: tuple[Column, ...],
    rows: list[dict[str, Any]],
    folded: bool = False,
    lead: str = "",
) -> dict[str, Any]:
    return {
        "id": name, "title": title, "lead": lead, "columns": columns, "rows": rows, "folded": folded,
        "lacking": "The data of this run hold no such rows.",
    }  # fmt: skip
