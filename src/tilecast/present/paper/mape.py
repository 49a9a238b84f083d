"""The table of mean errors: every predictor over the cells of each kind."""

from __future__ import annotations

import pandas as pd

from tilecast.present.paper.model import UNDEFINED, PaperTable, or_why
from tilecast.tables import naming
from tilecast.tables.declared.evaluation import MAPE
from tilecast.tables.schema import text

TABLES = {"results/evaluation/mape.csv": "evaluation.mape"}
NAMES, ORDER = ("mape",), 20
GROUP = ["device", "mode", "option", "distribution"]
SCOPES = {
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
SHOWN = "n mape_percent ci_low ci_high median_percent p90_percent worst_percent bias_percent"


def tables(mape: pd.DataFrame) -> list[PaperTable]:
    """A row a scope and predictor; a predictor without a cell in a scope has no row there."""
    found = {
        (tuple(row[name] for name in GROUP), row["predictor"]): {str(name): cell for name, cell in row.items()}
        for row in mape.to_dict("records")
    }
    rows = []
    for words, group in SCOPES.items():
        for name in naming.distinct(who for scope, who in found if scope == group):
            cells = {key: or_why(found[group, name][key], UNDEFINED) for key in SHOWN.split()}
            rows.append({"scope": words, "predictor": naming.predictor_name(name)} | cells)
    columns = {"scope": text("group of cells", title="Cells")}
    return [
        PaperTable(
            "mape",
            "Mean absolute percentage error of end-to-end forecasts",
            "Low and high: ends of the bootstrap interval of the mean. "
            "Bias: mean signed error. n: measured cells; a "
            "predictor without a forecast in a scope has no row there.",
            columns | {name: MAPE.columns[name] for name in ("predictor", *SHOWN.split())},
            tuple(rows),
        )
    ]
