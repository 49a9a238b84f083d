"""The table of mean errors: every predictor over the cells of each kind."""

from __future__ import annotations

import pandas as pd

from tilecast.present.paper.model import UNDEFINED, Column, PaperTable, or_why
from tilecast.tables import naming

SCOPES = {  # words: device, mode, option, distribution
    "NVIDIA, plain": ("NVIDIA", "all", "none", "all"),
    "NVIDIA, inference": ("NVIDIA", "inference", "none", "all"),
    "NVIDIA, training": ("NVIDIA", "training", "none", "all"),
    "NVIDIA, in distribution": ("NVIDIA", "all", "none", "in"),
    "NVIDIA, out of distribution": ("NVIDIA", "all", "none", "out"),
    "Fused": ("all", "all", "fusion", "all"),
    "Four GPUs": ("all", "all", "distributed", "all"),
    "AMD, inference": ("AMD", "inference", "none", "all"),
    "AMD, training": ("AMD", "training", "none", "all"),
}
STATISTICS = (
    "mape_percent",
    "ci_low",
    "ci_high",
    "median_percent",
    "p90_percent",
    "worst_percent",
    "bias_percent",
)


def table(mape: pd.DataFrame) -> PaperTable:
    """A row a scope and predictor; a predictor without a cell in a scope has no row there."""
    rows = []
    for words, (device, mode, option, distribution) in SCOPES.items():
        part = mape[
            (mape["device"] == device)
            & (mape["mode"] == mode)
            & (mape["option"] == option)
            & (mape["distribution"] == distribution)
        ]
        by_name = {str(row["predictor"]): row for row in part.to_dict("records")}
        for name in naming.ordered(naming.PREDICTORS, by_name):
            row = by_name[name]
            rows.append(
                {"scope": words, "predictor": naming.predictor_name(name), "n": row["n"]}
                | {key: or_why(row[key], UNDEFINED) for key in STATISTICS}
            )
    return PaperTable(
        "mape",
        "Mean absolute percentage error of end-to-end forecasts",
        "Low and high: ends of the bootstrap interval of the mean. Bias: mean signed error. n: measured cells; a "
        "predictor without a forecast in a scope has no row there.",
        (
            Column("scope", "Cells"),
            Column("predictor", "Predictor"),
            Column("n", "n", digits=0),
            Column("mape_percent", "Mean", "%", digits=3),
            Column("ci_low", "Low", "%", digits=3),
            Column("ci_high", "High", "%", digits=3),
            Column("median_percent", "Median", "%", digits=3),
            Column("p90_percent", "90th percentile", "%", digits=3),
            Column("worst_percent", "Worst", "%", digits=3),
            Column("bias_percent", "Bias", "%", digits=3),
        ),
        tuple(rows),
    )
