"""Errors of every predictor with what stands behind each mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilecast.present.page.results import Results
from tilecast.present.page.shown import arranged, interval, shown, span
from tilecast.tables.declared.evaluation import LABEL_NOISE, LABEL_NOISE_MAPE, MAPE, OPERATOR_ERRORS, PHASE_MAPE
from tilecast.tables.naming import distinct
from tilecast.tables.schema import Table

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = " n mape_percent interval median_percent p90_percent worst_percent bias_percent pearson spearman"
INTERVAL = span("Interval", "%", "too few cells")
VENDORS = ("NVIDIA", "AMD")
Values = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class Block:
    """A part of one table: rows with `where` and without `apart`, a row for every combination of `keys`."""

    title: str
    table: Table
    keys: str
    where: Values
    apart: Values = field(default_factory=dict)
    lead: str = ""
    folded: bool = False


PLAIN = {"option": "none", "distribution": "all"}
BLOCKS = (
    Block("By predictor", MAPE, "predictor device mode", PLAIN | {"device": VENDORS}),
    Block("By GPU", MAPE, "predictor device mode", PLAIN, {"device": ("all", *VENDORS)}, folded=True),
    Block(
        "In and out of distribution",
        MAPE,
        "predictor distribution",
        {"option": "none", "device": "NVIDIA", "mode": "all"},
        {"distribution": "all"},
        "NVIDIA GPUs, inference and training together.",
    ),
    Block(
        "Fused kernels and four GPUs",
        MAPE,
        "predictor option",
        {"distribution": "all", "device": "all", "mode": "all"},
        {"option": ("none", "all")},
    ),
    Block(
        "Forward and backward apart",
        PHASE_MAPE,
        "predictor device phase",
        PLAIN | {"device": VENDORS},
        lead="Training cells. Where the passes err in opposite ways, their sum looks better than either.",
    ),
    Block(
        "By operator class",
        OPERATOR_ERRORS,
        "predictor operator_class distribution",
        {"device": "NVIDIA", "mode": "all"},
        lead="NVIDIA GPUs: all operators of one class in one cell, added up, against their measured sum.",
        folded=True,
    ),
    Block(
        "With and without noisy labels",
        LABEL_NOISE_MAPE,
        "predictor device labels",
        {"device": VENDORS, "mode": "all"},
        lead="A label is noisy when its measured operators, added up, miss the whole by over 10 %.",
    ),
)


def context(results: Results) -> dict[str, Any]:
    """Tables of errors, the most aggregated first."""
    source = results.json("artifact/source.json")
    blocks = [
        _shown(block, results.table(_file(block.table), block.table))
        for block in BLOCKS
        if results.path(_file(block.table))
    ]
    return {
        "blocks": [*blocks, *_noisy(results)],
        "links": results.links({"Every cell": "evaluation/errors.csv", "Every group": "evaluation/mape.csv"}),
        "transcribed": source is not None and source["source"] == "published",
    }


def _file(table: Table) -> str:
    return f"evaluation/{table}.csv"


def _shown(block: Block, frame: pd.DataFrame) -> dict[str, Any]:
    for values, wanted in ((block.where, True), (block.apart, False)):
        for name, value in values.items():
            frame = frame[frame[name].isin([value] if isinstance(value, str) else value) == wanted]
    frame = frame[frame["predictor"].isin(distinct(frame["predictor"]))]
    ends = zip(frame["ci_low"], frame["ci_high"], strict=True)
    frame = frame.assign(interval=[interval(low, high, between="–") for low, high in ends])
    table = shown(arranged(frame, *block.keys.split()), block.table, block.keys + STATISTICS, interval=INTERVAL)
    return _block(block.title, table, block.lead, block.folded)


def _block(title: str, table: Any, lead: str, folded: bool) -> dict[str, Any]:
    slug = title.lower().replace(" ", "-")
    return {"id": slug, "title": title, "lead": lead, "table": table, "folded": folded}


def _noisy(results: Results) -> list[dict[str, Any]]:
    """The labels whose operators do not add up."""
    if results.path(_file(LABEL_NOISE)) is None:
        return []
    noise = results.table(_file(LABEL_NOISE), LABEL_NOISE)
    rows = arranged(noise[~noise["consistent"]], "device", "model", "mode")
    names = (
        "device model mode sequence_length batch_size measured_ms operators_ms ratio forward_ratio backward_ratio"
    )
    lead = f"{len(rows)} of the {len(noise)} labels that come with measured operators."
    return [_block("Labels whose operators do not add up", shown(rows, LABEL_NOISE, names), lead, True)]
