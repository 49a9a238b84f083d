"""How far each prediction is from its measurement, end to end and for forward and backward apart.

A cell is one device, model, mode, sequence length, batch size and option. Only cells that have both a label and a
prediction have an error; the ones that lack either are among the artifact's defects.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.base.statistics import absolute_error_percent
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import ERRORS, PHASE_ERRORS
from tilecast.tables.io import check
from tilecast.tables.schema import Table

# The artifact's own out-of-distribution flag (column OOD of summary/summary.csv), as a rule: a cell is out of
# distribution where its GPU or its model was not among those the published predictors were trained on. A100-SXM4
# counts as the A100-PCIe that was, and MI250 as in distribution although none of its kernels was: they do so.
SEEN_DEVICES = frozenset(
    {
        "Tesla_P4",
        "Tesla_P100-PCIE-16GB",
        "Tesla_T4",
        "Tesla_V100-PCIE-32GB",
        "NVIDIA_A100-PCIE-40GB",
        "NVIDIA_A100-SXM4-40GB",
        "AMD_Instinct_MI100",
        "AMD_Instinct_MI210",
        "AMD_Instinct_MI250",
    }
)
SEEN_MODELS = frozenset({"bert_large", "gpt2_large", "switchxl4", "switch4"})

PHASES = ("forward", "backward")


def distribution(devices: pd.Series, models: pd.Series) -> pd.Series:
    """`in` where device and model were both seen in training, else `out`."""
    seen = devices.isin(SEEN_DEVICES) & models.isin(SEEN_MODELS)
    return seen.map({True: "in", False: "out"}).astype("object")


def cell_error_percent(cells: pd.DataFrame) -> pd.Series:
    """Absolute percentage error of `predicted_ms` against `measured_ms`, rounded as the artifact rounds it."""
    return absolute_error_percent(cells["predicted_ms"], cells["measured_ms"], difference_first=True)


def together(predictions: Sequence[pd.DataFrame], where: object) -> pd.DataFrame:
    """Several prediction tables as one; a predictor's cell may come from only one of them."""
    frames = [frame for frame in predictions if not frame.empty]
    if not frames:
        return predictions[0]
    merged = pd.concat(frames, ignore_index=True)
    key = [name for name in ("predictor", *CELL_KEY, "name") if name in merged.columns]
    twice = merged.duplicated(key)
    if bool(twice.any()):
        cell = ", ".join(str(value) for value in merged.loc[twice, key].iloc[0])
        raise InputError(where, f"two prediction tables hold the cell ({cell})", "keep one of them")
    return merged


def cell_errors(labels: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The `errors` table: every prediction that has a label, in a fixed order."""
    cells = predictions.merge(labels, on=list(CELL_KEY), suffixes=("_predicted", "_measured"))
    frame = cells[["predictor", *CELL_KEY]].copy()
    frame["measured_ms"] = cells["latency_ms_measured"]
    frame["predicted_ms"] = cells["latency_ms_predicted"]
    return _finished(frame, ["predictor", *CELL_KEY], ERRORS)


def phase_errors(labels: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Errors of the forward and the backward pass of training cells, where both sides tell them apart."""
    both = predictions.merge(labels, on=list(CELL_KEY), suffixes=("_predicted", "_measured"))
    both = both[both["mode"] == "training"]
    parts = []
    for phase in PHASES:
        measured, predicted = both[f"{phase}_ms_measured"], both[f"{phase}_ms_predicted"]
        known = measured.gt(0) & predicted.notna()
        part = both.loc[known, ["predictor", *CELL_KEY]].assign(phase=phase)
        parts.append(part.assign(measured_ms=measured[known], predicted_ms=predicted[known]))
    return _finished(pd.concat(parts, ignore_index=True), ["predictor", *CELL_KEY, "phase"], PHASE_ERRORS)


def _finished(frame: pd.DataFrame, order: list[str], table: Table) -> pd.DataFrame:
    """Add error and distribution, sort and check."""
    frame["ape_percent"] = cell_error_percent(frame)
    frame["distribution"] = distribution(frame["device"], frame["model"])
    return check(frame.sort_values(order, kind="stable").reset_index(drop=True), table, f"{table} table")
