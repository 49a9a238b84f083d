"""What each constant chosen after an evaluation on held-out data does to the headline error.

A row of data/constants.csv whose column `off` is filled names the value that takes the constant out of a forecast.
Each is taken out alone, then those that no public source states, then all together.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pandas as pd

from tilecast.evaluate.constants import constants
from tilecast.evaluate.errors import SEEN_DEVICES, cell_errors
from tilecast.evaluate.goals import OURS, PLAIN, THEIRS
from tilecast.hardware.device import Device
from tilecast.predict.artifact_graphs import Workloads, forecast_all
from tilecast.predict.kernel import Predictor
from tilecast.tables.declared.evaluation import ABLATION
from tilecast.tables.io import check
from tilecast.tables.naming import vendor

GROUPS = {"h100": "NVIDIA_H100_80GB_HBM3", "l4": "NVIDIA_L4", "t4": "Tesla_T4", "p4": "Tesla_P4"}
ARGUED = ("WIDE_SHARE", "SHARED_POWER")  # no data sheet or kernel gives them
COMPUTED, RECORDED = "computed", "recorded"


def chosen_after() -> list[dict[str, Any]]:
    """The constants that can be taken out: module, name, values, off."""
    table = constants()
    known = table[table["off"].fillna("") != ""].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in known]


@contextmanager
def without(constant: Mapping[str, Any]) -> Iterator[None]:
    """Forecasts in this block are made without a constant: its module holds the value of `off` meanwhile."""
    module = importlib.import_module("tilecast." + constant["module"].removesuffix(".py").replace("/", "."))
    shipped = getattr(module, constant["name"])
    setattr(module, constant["name"], ast.literal_eval(constant["off"]))
    try:
        yield
    finally:
        setattr(module, constant["name"], shipped)


def ablation(
    predictor: Predictor,
    work: Workloads,
    devices: Mapping[str, Device],
    labels: pd.DataFrame,
    errors: pd.DataFrame,
    evaluations: pd.DataFrame,
) -> pd.DataFrame:
    """The `ablation` table: the authors, the first evaluation, the present forecast, and it without each constant.

    `errors` are those of the run, `evaluations` the record of every evaluation so far; `work` is of plain cells.
    """
    nvidia = {name: device for name, device in devices.items() if device.vendor == "NVIDIA"}
    rows = [_row("NeuSight, the authors' predictions", errors[errors["predictor"] == THEIRS])]
    present = _row("present forecast", errors[errors["predictor"] == OURS])
    first = evaluations.iloc[0]
    record = {name: first[name] for name in ("mape_percent", "seen_percent", "unseen_percent")}
    words = f"evaluation {first['evaluation']}: {first['design']}"
    rows += [{"variant": words, "basis": RECORDED, "n": present["n"]} | record, present]
    parts = chosen_after()

    def forecast(words: str, some: list[dict[str, Any]]) -> dict[str, Any]:
        with ExitStack() as stack:
            for part in some:
                stack.enter_context(without(part))
            return _row(words, cell_errors(labels, forecast_all(predictor, work, nvidia).cells))

    for part in parts:
        about = {"value": part["values"].replace(" ", ", "), "without": part["off"]}
        rows.append(forecast(f"without {part['name']}", [part]) | about)
    rows.append(forecast(f"without {' and '.join(ARGUED)}", [part for part in parts if part["name"] in ARGUED]))
    rows.append(forecast("without all of them", parts))
    table = pd.DataFrame(rows).reindex(columns=list(ABLATION.columns))
    return check(table, ABLATION, "ablation table")


def _row(variant: str, errors: pd.DataFrame) -> dict[str, Any]:
    """Mean errors of the plain cells on NVIDIA's GPUs, by group."""
    plain = errors[(errors["option"] == PLAIN["option"]) & (errors["device"].map(vendor) == "NVIDIA")]
    error, seen = plain["ape_percent"], plain["device"].isin(SEEN_DEVICES)
    means = {"mape": error.mean(), "seen": error[seen].mean(), "unseen": error[~seen].mean()}
    means |= {name: error[plain["device"] == device].mean() for name, device in GROUPS.items()}
    about = {"variant": variant, "basis": COMPUTED, "n": len(plain)}
    return about | {f"{name}_percent": mean for name, mean in means.items()}
