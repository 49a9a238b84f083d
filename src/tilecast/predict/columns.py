"""Kernels and forecasts as columns: arrays of one length by name. Loading pandas takes longer than a forecast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilecast.base.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, Array]


def of_rows(rows: Iterable[Sequence[Any]], names: Sequence[str]) -> Columns:
    """Columns of rows of words and numbers."""
    found = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        found[name] = np.array(values, dtype=object if isinstance(values[0], str) else None)
    return found


def of_table(table: pd.DataFrame) -> Columns:
    """A table's columns."""
    return {str(name): table[name].to_numpy() for name in table.columns}


def as_table(columns: Columns) -> pd.DataFrame:
    """A table of columns."""
    import pandas as pd

    return pd.DataFrame(columns)


def some(columns: Columns, rows: Array) -> Columns:
    """Some rows, chosen by places or by a mask."""
    return {name: values[rows] for name, values in columns.items()}


def joined(one: Columns, other: Columns) -> Columns:
    """The rows of both, of the columns that both have."""
    return {name: np.concatenate([values, other[name]]) for name, values in one.items() if name in other}


def replaced(columns: Columns, rows: Array, by: Mapping[str, Any]) -> Columns:
    """The same with some rows of some columns replaced, by arrays or a value."""
    found = dict(columns)
    for name, values in by.items():
        found[name] = found[name].copy()
        found[name][rows] = values
    return found
