"""The error of a forecast against a measurement: the one definition that every room uses."""

from __future__ import annotations

from typing import Any


def error_percent(predicted: Any, measured: Any, difference_first: bool = False) -> Any:
    """Signed percentage error: 100 (predicted / measured - 1), above zero where the forecast is too long.

    Numbers, arrays or columns. `difference_first` computes 100 (predicted - measured) / measured instead, as the
    artifact does for whole models: the same figure but for its last digits, which results keep.
    """
    if difference_first:
        return 100 * (predicted - measured) / measured
    return 100 * (predicted / measured - 1)


def absolute_error_percent(predicted: Any, measured: Any, difference_first: bool = False) -> Any:
    """Absolute percentage error: the size of `error_percent`."""
    return abs(error_percent(predicted, measured, difference_first))
