"""What each constant chosen after an evaluation on held-out data does to the headline error.

A row of data/constants.csv whose column `off` is filled names the value that takes the constant out of a forecast.
Each is taken out alone, then those that no public source states, then all together. Last comes a design without
any choice of that kind: see `CLEAN`.
"""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Container, Mapping
from typing import Any

import pandas as pd

from tilecast.evaluate.constants import Held, constants, holding
from tilecast.evaluate.donors import best
from tilecast.evaluate.errors import SEEN_DEVICES, cell_errors
from tilecast.evaluate.goals import OURS, PLAIN, THEIRS
from tilecast.hardware.device import Device
from tilecast.predict.artifact_graphs import Workloads, forecast_all
from tilecast.predict.tilecast import Tilecast
from tilecast.tables.declared.evaluation import ABLATION
from tilecast.tables.io import check
from tilecast.tables.naming import vendor

GROUPS = {"h100": "NVIDIA_H100_80GB_HBM3", "l4": "NVIDIA_L4", "t4": "Tesla_T4", "p4": "Tesla_P4"}
ARGUED = ("WIDE_SHARE", "SHARED_POWER")  # no data sheet or kernel gives them
# A design in which no held-out figure had a part. WIDE_SHARE is what cuBLAS reaches of the multiply-add units of
# an H200, the H100's chip, by published profiles (kernelspace.substack.com, "Surfacing a 60 % performance bug in
# cuBLAS"; 0.73 of an RTX PRO 6000's). WATTS_PER_TFLOPS are makers' specifications already. The way to borrow is
# the best of `donors` by leaving a training GPU out, and SHORTEST_MS was chosen so. What neither a document nor a
# training GPU speaks of is left out.
CLEAN: Held = {
    ("predict/physics/chip.py", "WIDE_SHARE"): 0.82,
    ("predict/experts.py", "SAME_PEAK"): -1.0,
    ("predict/tilecast.py", "SHARED_POWER"): 1.0,
    ("predict/tilecast.py", "GAP_MS"): 0.0,
}
COMPUTED, RECORDED = "computed", "recorded"


def chosen_after() -> list[dict[str, Any]]:
    """The constants that can be taken out: module, name, values, off."""
    table = constants()
    known = table[table["off"].fillna("") != ""].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in known]


def without(constant: Mapping[str, Any]) -> Held:
    """The value of a row of the table of constants that takes it out."""
    return {(constant["module"], constant["name"]): ast.literal_eval(constant["off"])}


def ablation(
    predictor: Tilecast,
    work: Workloads,
    devices: Mapping[str, Device],
    labels: pd.DataFrame,
    errors: pd.DataFrame,
    evaluations: pd.DataFrame,
    ways: pd.DataFrame,
) -> pd.DataFrame:
    """The `ablation` table: the authors, the first evaluation, the present forecast, and it without each constant.

    `errors` are those of the run, `evaluations` the record of every evaluation so far, `ways` the `donors` table;
    `work` is of plain cells.
    """
    nvidia = {name: device for name, device in devices.items() if device.vendor == "NVIDIA"}
    rows = [_row("NeuSight, the authors' predictions", errors[errors["predictor"] == THEIRS])]
    present = _row("present forecast", errors[errors["predictor"] == OURS])
    first = evaluations.iloc[0]
    record = {name: first[name] for name in ("mape_percent", "seen_percent", "unseen_percent")}
    words = f"evaluation {first['evaluation']}: {first['design']}"
    rows += [{"variant": words, "basis": RECORDED, "n": present["n"]} | record, present]
    parts = chosen_after()

    def forecast(words: str, held: Held, model: Tilecast = predictor) -> dict[str, Any]:
        with holding(held):
            return _row(words, cell_errors(labels, forecast_all(model, work, nvidia).cells))

    def those(names: Container[str]) -> Held:
        return dict(ChainMap(*(without(part) for part in parts if part["name"] in names)))

    for part in parts:
        about = {"value": part["values"].replace(" ", ", "), "without": part["off"]}
        rows.append(forecast(f"without {part['name']}", without(part)) | about)
    rows.append(forecast(f"without {' and '.join(ARGUED)}", those(ARGUED)))
    rows.append(forecast("without all of them", those({part["name"] for part in parts})))
    decay, borrowed = best(ways)
    clean = Tilecast(predictor.experts, {**predictor.meta, "decay": decay})
    rows.append(forecast("training GPUs left out and public documents alone", {**CLEAN, **borrowed}, clean))
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
