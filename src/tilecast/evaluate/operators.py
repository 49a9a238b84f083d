"""Errors by class of operator, and whether the measured operators of a cell add up to its measured total.

An operator class of a cell is the sum over the graph nodes of that class, each counted as often as the model
repeats it. This is the definition behind the artifact's `summary/perop.csv`: the total of a class, forward and
backward together, against the same total measured, averaged over cells.
"""

from __future__ import annotations

import pandas as pd

from tilecast.evaluate.errors import cell_error_percent, distribution
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import LABEL_NOISE, OPERATOR_CELLS
from tilecast.tables.io import check

CELL = list(CELL_KEY)
CLASSES = {"BMM": "bmm", "Linear": "linear", "VECsoftmax": "softmax", "VECln": "norm"}
NOISE_LIMIT = 0.10  # a label is consistent while its operators add up to its total within this fraction


def operator_class(operator: pd.Series) -> pd.Series:
    """The class of each of the artifact's operator names; what is no vector kernel and has no class is `other`."""
    return operator.map(
        {
            name: CLASSES.get(name, "elementwise" if name.startswith("VEC") else "other")
            for name in operator.unique().tolist()
        }
    )


def operator_cells(labels: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The `operator_cells` table: measured and predicted time of every class of operators in every cell."""
    nodes = predictions.merge(
        labels[[*CELL, "name", "latency_ms", "repeats"]], on=[*CELL, "name"], suffixes=("_predicted", "_measured")
    )
    nodes["operator_class"] = operator_class(nodes["operator"])
    nodes["measured_ms"] = nodes["latency_ms_measured"] * nodes["repeats_measured"]
    nodes["predicted_ms"] = nodes["latency_ms_predicted"] * nodes["repeats_predicted"]
    key = ["predictor", *CELL, "operator_class"]
    cells = nodes.groupby(key, sort=True, as_index=False).agg(
        operators=("name", "size"), measured_ms=("measured_ms", "sum"), predicted_ms=("predicted_ms", "sum")
    )
    cells = cells[cells["measured_ms"] > 0].reset_index(drop=True)
    cells["ape_percent"] = cell_error_percent(cells)
    cells["distribution"] = distribution(cells["device"], cells["model"])
    return check(cells, OPERATOR_CELLS, "operator_cells table")


def label_noise(labels: pd.DataFrame, operators: pd.DataFrame) -> pd.DataFrame:
    """The `label_noise` table: for every cell with measured operators, their sum over the measured total."""
    parts = operators[CELL].copy()
    for name in ("latency_ms", "forward_ms", "backward_ms"):
        parts[name] = operators[name] * operators["repeats"]
    sums = parts.groupby(CELL, sort=True, as_index=False).sum()
    both = sums.merge(labels, on=CELL, suffixes=("_operators", "_measured"))
    frame = both[CELL].copy()
    frame["measured_ms"] = both["latency_ms_measured"]
    frame["operators_ms"] = both["latency_ms_operators"]
    frame["ratio"] = frame["operators_ms"] / frame["measured_ms"]
    apart = both["mode"] == "training"  # at inference the forward pass is the whole
    for phase in ("forward", "backward"):
        measured = both[f"{phase}_ms_measured"]
        frame[f"{phase}_ratio"] = (both[f"{phase}_ms_operators"] / measured).where(apart & measured.gt(0))
    ratios = frame[["ratio", "forward_ratio", "backward_ratio"]]
    frame["consistent"] = ((ratios - 1).abs() <= NOISE_LIMIT).where(ratios.notna(), True).all(axis=1)
    return check(frame, LABEL_NOISE, "label_noise table")


def by_consistency(errors: pd.DataFrame, noise: pd.DataFrame) -> pd.DataFrame:
    """Errors of plain cells with `labels`: whether the cell's labels agree with each other."""
    plain = errors[errors["option"] == "none"].merge(noise[[*CELL, "consistent"]], on=CELL, how="left")
    names = {True: "consistent", False: "inconsistent"}
    return plain.assign(labels=plain["consistent"].map(names).fillna("unchecked"))
