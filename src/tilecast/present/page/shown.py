"""Tables of the page: some columns of a declared table, with rows in words and in the order of presentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilecast.locality.guide import STAGES
from tilecast.moe.names import STRATEGIES
from tilecast.present.page.render import is_absent, number
from tilecast.tables.naming import (
    DEVICES,
    DISTRIBUTIONS,
    FAMILIES,
    MODELS,
    MODES,
    OPTIONS_SHORT,
    PREDICTORS,
    RIVALS,
    ordered,
)
from tilecast.tables.schema import Column, Table, text

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
# Names for people of the values of a column, in the order of presentation; other values are shown as they are.
WORDS: dict[str, Mapping[Any, str]] = {
    "predictor": PREDICTORS | RIVALS,
    "device": {"all": "all", "NVIDIA": "NVIDIA, all", "AMD": "AMD, all"} | DEVICES,
    "model": MODELS,
    "mode": {"all": "all"} | MODES | {"as_published": "as published"},
    "option": {"all": "all", "distributed": "DP4, TP4, PP4"} | OPTIONS_SHORT,
    "distribution": {"all": "all"} | DISTRIBUTIONS,
    "operator_class": FAMILIES,
    "family": FAMILIES
    | {
        "gemm": "Products",
        "prefill": "Prefill attention",
        "decode": "Decode attention",
        "moe": "Experts, vLLM's choice of kernel",
        "moe_triton": "Experts, Triton's kernel",
    },
    "table": {
        "amd_inf": "AMD, inference",
        "amd_train": "AMD, training",
        "distributed": "Four GPUs",
        "fusion_inf": "Fused inference",
        "nvidia_inf": "NVIDIA, inference",
        "nvidia_train": "NVIDIA, training",
        "perop": "Operators",
    },
    "phase": {"forward": "Forward", "backward": "Backward"},
    "labels": {
        "all": "all",
        "consistent": "operators add up",
        "inconsistent": "operators do not add up",
        "unchecked": "no operators measured",
    },
    "where": {"live": "on this machine, in this run", "replayed": "kept from an earlier measurement"},
    "strategy": STRATEGIES,
    "left_out": {True: "left out", False: "kept in"},
    "overlap_alone_can_give_it": {True: "yes", False: "no"},
    "judged": {True: "yes", False: "as a check"},
    "compiled": {False: "no", True: "yes"},
}
WORDS |= dict.fromkeys(("bound", "bound_local", "bound_remote"), STAGES)


@dataclass(frozen=True)
class Shown:
    """A table as the page shows it."""

    columns: Mapping[str, Column]
    rows: list[Row]


def shown(rows: pd.DataFrame | list[Row], table: Table, names: str, **others: Column) -> Shown:
    """The columns `names` of the table; `others` are the page's own, or stand in place of declared ones."""
    columns = {name: (others.get(name) or table.columns[name]).named(name) for name in names.split()}
    found = rows if isinstance(rows, list) else records(rows)
    return Shown(columns, [row | {name: in_words(name, row[name]) for name in columns} for row in found])


def records(frame: pd.DataFrame) -> list[Row]:
    """Rows as dictionaries, what is missing as None."""
    names = [str(name) for name in frame]
    columns = [
        [None if gone else value for value, gone in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for _, column in frame.items()
    ]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def in_words(column: str, value: Any) -> Any:
    """The value as people are shown it."""
    words = WORDS.get(column, {})
    return words.get(value, value) if isinstance(value, str | bool) else value


def arranged(frame: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """The rows in the order of presentation of the columns `keys`."""

    def ranks(column: pd.Series) -> pd.Series:
        return column.map({name: place for place, name in enumerate(ordered(WORDS[str(column.name)], column))})

    return frame.sort_values(list(keys), key=ranks, kind="stable")


def interval(low: Any, high: Any, digits: int = 1, between: str = " to ") -> str:
    """Both ends as one text; nothing where there is none."""
    return "" if is_absent(low) or is_absent(high) else f"{number(low, digits)}{between}{number(high, digits)}"


def span(title: str, unit: str = "", empty: str = "none claimed") -> Column:
    """A column of the page for an interval in words."""
    return text("an interval", title=title, unit=unit, digits=0, empty=empty)
