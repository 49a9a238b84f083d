"""The paper's per-operator table: mean error by operator class, in and out of distribution."""

from __future__ import annotations

import pandas as pd

from tilecast.present.paper.model import NEEDS_ARTIFACT, NO_PREDICTION, PaperTable
from tilecast.tables import naming
from tilecast.tables.declared.evaluation import OPERATOR_ERRORS
from tilecast.tables.schema import amount, text

TABLES = {"results/evaluation/operator_errors.csv": "evaluation.operator_errors"}
NAMES, ORDER = ("operators",), 40

CLASSES = ("bmm", "linear", "elementwise", "softmax", "norm")  # those of the paper


def tables(operators: pd.DataFrame) -> list[PaperTable]:
    """A row a predictor and distribution, a column a class; NVIDIA GPUs, inference and training together."""
    part = operators[(operators["device"] == "NVIDIA") & (operators["mode"] == "all")]
    keys = part[["predictor", "distribution", "operator_class"]].itertuples(index=False, name=None)
    found = dict(zip(keys, part[["n", "mape_percent"]].itertuples(index=False, name=None), strict=True))
    rows = []
    for side in naming.ordered(naming.DISTRIBUTIONS, [s for s in part["distribution"] if s != "all"]):
        for name in naming.distinct(part["predictor"]):
            cells = {kind: found.get((name, side, kind)) for kind in CLASSES}
            counts = sorted({int(cell[0]) for cell in cells.values() if cell})
            rows.append(
                {"distribution": naming.DISTRIBUTIONS[side], "predictor": naming.predictor_name(name)}
                | {kind: cell[1] if cell else NO_PREDICTION for kind, cell in cells.items()}
                | {"n": "–".join(str(n) for n in (counts[:1] + counts[-1:] if len(counts) > 1 else counts)) or "0"}
            )
    note = "Absolute error of the class's summed latency within a cell; NVIDIA GPUs, inference and training."
    columns = {name: OPERATOR_ERRORS.columns[name] for name in ("distribution", "predictor")}
    columns |= {kind: amount("MAPE", title=naming.FAMILIES[kind], unit="%") for kind in CLASSES}
    table = PaperTable(
        "operators",
        "Mean absolute error by operator class",
        f"{note} n: cells averaged in each class." if rows else f"This table {NEEDS_ARTIFACT}.",
        columns | {"n": text("cells averaged, least and most", title="n")},
        tuple(rows),
    )
    return [table]
