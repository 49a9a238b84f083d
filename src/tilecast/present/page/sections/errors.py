"""Errors of every predictor with what stands behind each mean."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tilecast.present.page.render import Column, is_absent, number
from tilecast.present.page.results import Results
from tilecast.tables.columns import OPERATOR_CLASSES
from tilecast.tables.declared.evaluation import LABEL_NOISE, LABEL_NOISE_MAPE, MAPE, OPERATOR_ERRORS, PHASE_MAPE
from tilecast.tables.naming import (
    DEVICES,
    DISTRIBUTIONS,
    FAMILIES,
    MODELS,
    MODES,
    OPTIONS_SHORT,
    PREDICTORS,
    display,
    ordered,
)

UNDEFINED = "too few cells"
NAMES: dict[str, dict[str, str]] = {
    "predictor": PREDICTORS,
    "device": {"all": "all", "NVIDIA": "NVIDIA, all", "AMD": "AMD, all"} | DEVICES,
    "model": MODELS,
    "mode": {"all": "all"} | MODES,
    "option": {"all": "all", "distributed": "DP4, TP4, PP4"} | OPTIONS_SHORT,
    "distribution": {"all": "all"} | DISTRIBUTIONS,
    "operator_class": {name: FAMILIES.get(name, name) for name in OPERATOR_CLASSES},
    "phase": {"forward": "Forward", "backward": "Backward"},
    "labels": {
        "all": "all",
        "consistent": "operators add up",
        "inconsistent": "operators do not add up",
        "unchecked": "no operators measured",
    },
}
HEADS = {
    "predictor": "Predictor",
    "device": "GPU",
    "model": "Model",
    "mode": "Mode",
    "option": "Option",
    "distribution": "Distribution",
    "operator_class": "Operator class",
    "phase": "Pass",
    "labels": "Labels",
}
STATISTICS = (
    Column("n", "n", digits=0),
    Column("mape_percent", "MAPE", "%", 1),
    Column("interval", "Interval", "%", absent=UNDEFINED, right=True),
    Column("median_percent", "Median", "%", 1),
    Column("p90_percent", "90th pct.", "%", 1),
    Column("worst_percent", "Worst", "%", 1),
    Column("bias_percent", "Bias", "%", 1),
    Column("pearson", "Pearson", digits=3, absent=UNDEFINED),
    Column("spearman", "Spearman", digits=3, absent=UNDEFINED),
)
CELL = ("device", "model", "mode")
NOISE = (
    Column("sequence_length", "Sequence", digits=0),
    Column("batch_size", "Batch", digits=0),
    Column("measured_ms", "Measured", "ms", 1),
    Column("operators_ms", "Operators, added", "ms", 1),
    Column("ratio", "Ratio", digits=3),
    Column("forward_ratio", "Forward", digits=3),
    Column("backward_ratio", "Backward", digits=3, absent="no backward pass"),
)


def context(results: Results) -> dict[str, Any]:
    """Tables of errors, the most aggregated first."""
    mape = results.table("evaluation/mape.csv", MAPE)
    assert mape is not None
    plain = mape[(mape["option"] == "none") & (mape["distribution"] == "all")]
    rolled = plain["device"].isin(["all", "NVIDIA", "AMD"])
    vendors = rolled & (plain["device"] != "all")
    blocks = [
        _block("By predictor", plain[vendors], ("predictor", "device", "mode")),
        _block("By GPU", plain[~rolled], ("predictor", "device", "mode"), folded=True),
        _block(
            "In and out of distribution",
            mape[
                (mape["option"] == "none")
                & (mape["distribution"] != "all")
                & (mape["device"] == "NVIDIA")
                & (mape["mode"] == "all")
            ],
            ("predictor", "distribution"),
            lead="NVIDIA GPUs, inference and training together.",
        ),
        _block(
            "Fused kernels and four GPUs",
            mape[
                ~mape["option"].isin(["none", "all"])
                & (mape["distribution"] == "all")
                & (mape["device"] == "all")
                & (mape["mode"] == "all")
            ],
            ("predictor", "option"),
        ),
    ]
    phases = results.table("evaluation/phase_mape.csv", PHASE_MAPE)
    if phases is not None:
        chosen = (phases["option"] == "none") & (phases["distribution"] == "all")
        blocks.append(
            _block(
                "Forward and backward apart",
                phases[chosen & phases["device"].isin(["NVIDIA", "AMD"])],
                ("predictor", "device", "phase"),
                lead="Training cells. Where the passes err in opposite ways, their sum looks better than either.",
            )
        )
    operators = results.table("evaluation/operator_errors.csv", OPERATOR_ERRORS)
    if operators is not None:
        chosen = (operators["device"] == "NVIDIA") & (operators["mode"] == "all")
        blocks.append(
            _block(
                "By operator class",
                operators[chosen],
                ("predictor", "operator_class", "distribution"),
                lead="NVIDIA GPUs: all operators of one class in one cell, added up, against their measured sum.",
                folded=True,
            )
        )
    blocks += _noise(results)
    source = results.json("artifact/source.json")
    links = [
        *results.links("evaluation", "errors", (".csv",), "Every cell"),
        *results.links("evaluation", "mape", (".csv",), "Every group"),
    ]
    return {
        "blocks": blocks,
        "links": links,
        "transcribed": source is not None and source["source"] == "published",
    }


def _noise(results: Results) -> list[dict[str, Any]]:
    """With and without the labels whose operators do not add up, and those labels themselves."""
    blocks = []
    split = results.table("evaluation/label_noise_mape.csv", LABEL_NOISE_MAPE)
    if split is not None:
        rolled = split["device"].isin(["NVIDIA", "AMD"]) & (split["mode"] == "all")
        blocks.append(
            _block(
                "With and without noisy labels",
                split[rolled],
                ("predictor", "device", "labels"),
                lead="A label is noisy when its measured operators, added up, miss the whole by over 10 %.",
            )
        )
    noise = results.table("evaluation/label_noise.csv", LABEL_NOISE)
    if noise is not None:
        block = _block("Labels whose operators do not add up", noise[~noise["consistent"]], CELL, folded=True)
        block["columns"] = (*(Column(key, HEADS[key]) for key in CELL), *NOISE)
        block["lead"] = f"{len(block['rows'])} of the {len(noise)} labels that come with measured operators."
        blocks.append(block)
    return blocks


def _block(
    title: str, frame: pd.DataFrame, keys: tuple[str, ...], lead: str = "", folded: bool = False
) -> dict[str, Any]:
    return {
        "id": title.lower().replace(",", "").replace(" ", "-"),
        "title": title,
        "lead": lead,
        "columns": (*(Column(key, HEADS[key]) for key in keys), *STATISTICS),
        "rows": _named(frame, keys),
        "folded": folded,
    }


def _named(frame: pd.DataFrame, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows as dictionaries, keys in words and in order of presentation, the interval as one text."""
    for key in keys:
        rank = {name: place for place, name in enumerate(ordered(NAMES[key], frame[key]))}
        frame = frame.assign(**{f"_{key}": frame[key].map(rank)})
    frame = frame.sort_values([f"_{key}" for key in keys], kind="stable")
    rows = []
    for row in frame.to_dict("records"):
        words = {key: display(NAMES[key], row[key]) for key in keys}
        ends = [row[end] for end in ("ci_low", "ci_high") if not is_absent(row.get(end))]
        interval = "–".join(number(end, 1) for end in ends)
        rows.append({str(key): value for key, value in row.items()} | words | {"interval": interval})
    return rows
