"""Measured latencies that a user brings along: read, checked, and joined with the artifact's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tilecast.base.errors import InputError
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.io import check, read_raw

if TYPE_CHECKING:
    import pandas as pd


def layers_of(labels: pd.DataFrame) -> pd.DataFrame:
    """The `layers` table: how many layers each model has, as the artifact's labels say."""
    return labels[labels["layers"] > 0].groupby("model")["layers"].max().reset_index()


def read_label_file(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A user's CSV as a `labels` table: forward_ms, backward_ms, layers and source may be left out."""
    frame = read_raw(path, LABELS)
    if "layers" not in frame:
        frame["layers"] = 0
    if "source" not in frame:
        frame["source"] = Path(path).name if Path(path).is_absolute() else os.fspath(path)
    for part in ("forward_ms", "backward_ms"):
        if part not in frame:
            frame[part] = float("nan")
    if frame.empty:
        raise InputError(path, "holds no row", "remove it from `labels`, or fill it")
    return check(frame, LABELS, path)


def with_label_files(labels: pd.DataFrame, paths: Iterable[str | os.PathLike[str]]) -> pd.DataFrame:
    """`labels` and the rows of the users' files below; a cell that occurs in two of them is an error."""
    import pandas as pd

    key = list(CELL_KEY)
    for path in paths:
        added = read_label_file(path)
        both = added.merge(labels[[*key, "source"]], on=key, suffixes=("", "_before"))
        if len(both):
            cell = ", ".join(str(both[name].iloc[0]) for name in key)
            before = both["source_before"].iloc[0]
            raise InputError(path, f"the cell ({cell}) is measured already, in {before}", "keep one of them")
        labels = pd.concat([labels, added], ignore_index=True)
    return labels.sort_values(key, ignore_index=True)
