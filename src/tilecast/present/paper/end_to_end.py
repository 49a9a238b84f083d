"""The paper's end-to-end tables: NVIDIA and AMD, inference and training, fusion, four GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from tilecast.present.paper.model import NO_LABEL, NO_PREDICTION, PaperTable
from tilecast.tables import naming
from tilecast.tables.declared.evaluation import ERRORS
from tilecast.tables.schema import Column, amount, positive

TABLES = {"results/tidy/labels.csv": "artifact.labels", "results/evaluation/errors.csv": "evaluation.errors"}
NAMES = ("nvidia_inference", "nvidia_training", "amd_inference", "amd_training", "fusion", "distributed")
ORDER = 30

FOUR_GPUS = tuple(option for option in naming.OPTIONS if option not in ("none", "fusion"))
PLACE = {name: ERRORS.columns[name] for name in ("device", "model", "sequence_length", "batch_size")}
MEASURED = ERRORS.columns["measured_ms"]
KEY = ["device", "model", "mode", "sequence_length", "batch_size"]


def tables(labels: pd.DataFrame, errors: pd.DataFrame) -> list[PaperTable]:
    """All six, from the measured cells and the errors of every forecast of them."""
    plain = [_plain(labels, errors, vendor, mode) for vendor in ("NVIDIA", "AMD") for mode in naming.MODES]
    return [*plain, _fusion(labels, errors), _distributed(labels, errors)]


def _sorted(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows in order of presentation, as dictionaries."""
    devices = naming.ordered(naming.DEVICES, frame["device"])
    models = naming.ordered(naming.MODELS, frame["model"])
    options = [*naming.OPTIONS]
    rows: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    return sorted(
        rows,
        key=lambda row: (
            devices.index(row["device"]),
            models.index(row["model"]),
            row["batch_size"],
            row["sequence_length"],
            options.index(row.get("option", "none")),
        ),
    )


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """The row's place with names for people."""
    return {
        "device": naming.device_name(row["device"]),
        "model": naming.model_name(row["model"]),
        "sequence_length": row["sequence_length"],
        "batch_size": row["batch_size"],
    }


def _forecasts(errors: pd.DataFrame, options: Iterable[str]) -> tuple[list[str], dict[tuple[Any, ...], Any]]:
    """The predictors that forecast one of `options`, and (predicted, error) by predictor and cell."""
    part = errors[errors["option"].isin(list(options))]
    columns = ["predictor", *KEY, "option"]
    keys = part[columns].itertuples(index=False, name=None)
    values = part[["predicted_ms", "ape_percent"]].itertuples(index=False, name=None)
    return naming.distinct(part["predictor"]), dict(zip(keys, values, strict=True))


def _plain(labels: pd.DataFrame, errors: pd.DataFrame, vendor: str, mode: str) -> PaperTable:
    """A row a measured cell: its latency, and every predictor's absolute error."""
    mine = (labels["device"].map(naming.vendor) == vendor) & (labels["mode"] == mode)
    cells = labels[mine & (labels["option"] == "none")]
    of_vendor = errors[(errors["device"].map(naming.vendor) == vendor) & (errors["mode"] == mode)]
    predictors, values = _forecasts(of_vendor, ["none"])
    rows = []
    for cell in _sorted(cells):
        place = tuple(cell[key] for key in KEY)
        row = _named(cell) | {"measured_ms": cell["latency_ms"]}
        for name in predictors:
            row[name] = values.get((name, *place, "none"), (None, NO_PREDICTION))[1]
        rows.append(row)
    workloads = cells.groupby(["model", "sequence_length", "batch_size"]).ngroups
    absent = workloads * cells["device"].nunique() - len(cells)
    return PaperTable(
        f"{vendor.lower()}_{mode}",
        f"{vendor} {mode}: measured latency and absolute error of each forecast",
        f"{len(rows)} measured cells; {absent} further pairs of these devices and workloads have {NO_LABEL} "
        "and no row. Errors in percent of the measured latency.",
        PLACE | {"measured_ms": MEASURED} | {name: _error(naming.predictor_name(name)) for name in predictors},
        tuple(rows),
    )


def _error(title: str) -> Column:
    return amount("absolute error", title=title, unit="%")


def _latency(title: str) -> Column:
    return positive("latency", title=title, unit="ms")


def _fusion(labels: pd.DataFrame, errors: pd.DataFrame) -> PaperTable:
    """A row a fused cell and predictor: measured and forecast with and without fusion."""
    measured = {
        (*key, option): latency
        for *key, option, latency in labels[[*KEY, "option", "latency_ms"]].itertuples(index=False, name=None)
    }
    predictors, values = _forecasts(errors, ["fusion"])
    _, plain = _forecasts(errors, ["none"])
    rows = []
    for cell in _sorted(labels[labels["option"] == "fusion"]):
        place = tuple(cell[key] for key in KEY)
        for name in predictors or ["none"]:
            row = _named(cell) | {"predictor": naming.predictor_name(name) if predictors else NO_PREDICTION}
            row["measured_plain_ms"] = measured.get((*place, "none"), NO_LABEL)
            row["measured_fused_ms"] = cell["latency_ms"]
            for kind, known, option in (("plain", plain, "none"), ("fused", values, "fusion")):
                predicted, error = known.get((name, *place, option), (NO_PREDICTION, NO_PREDICTION))
                row[f"predicted_{kind}_ms"], row[f"error_{kind}_percent"] = predicted, error
            rows.append(row)
    return PaperTable(
        "fusion",
        "Kernel fusion: measured and forecast latency with and without it",
        f"{int((labels['option'] == 'fusion').sum())} cells measured fused; a row a cell and predictor. "
        "Errors in percent of the measured latency.",
        PLACE
        | {"predictor": ERRORS.columns["predictor"]}
        | {
            f"{what}_{kind}_ms": _latency(f"{title} {kind}")
            for what, title in (("measured", "Measured"), ("predicted", "Forecast"))
            for kind in ("plain", "fused")
        }
        | {f"error_{kind}_percent": _error(f"Error {kind}") for kind in ("plain", "fused")},
        tuple(rows),
    )


def _distributed(labels: pd.DataFrame, errors: pd.DataFrame) -> PaperTable:
    """A row a four-GPU cell: measured latency, and forecast and error of every predictor."""
    predictors, values = _forecasts(errors, FOUR_GPUS)
    cells = _sorted(labels[labels["option"].isin(FOUR_GPUS)])
    rows = []
    for cell in cells:
        place = tuple(cell[key] for key in [*KEY, "option"])
        row = _named(cell) | {"option": naming.OPTIONS[cell["option"]], "measured_ms": cell["latency_ms"]}
        for name in predictors:
            predicted, error = values.get((name, *place), (NO_PREDICTION, NO_PREDICTION))
            row[f"{name}_ms"], row[f"{name}_percent"] = predicted, error
        rows.append(row)
    columns = {}
    for name in predictors:
        columns[f"{name}_ms"] = _latency(f"{naming.predictor_name(name)} forecast")
        columns[f"{name}_percent"] = _error(f"{naming.predictor_name(name)} error")
    return PaperTable(
        "distributed",
        "Training on four GPUs: measured and forecast latency",
        f"{len(rows)} measured cells; batch is the global batch. Errors in percent of the measured latency.",
        PLACE | {"option": ERRORS.columns["option"], "measured_ms": MEASURED} | columns,
        tuple(rows),
    )
