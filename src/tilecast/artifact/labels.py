"""Measured latencies that a user brings along: read, checked, and joined with the artifact's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tilecast.artifact.published import read_published
from tilecast.base.errors import InputError
from tilecast.base.paths import DEVICES
from tilecast.hardware.device_file import load_device
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.artifact import LABELS
from tilecast.tables.io import check, read_raw

if TYPE_CHECKING:
    import pandas as pd

FORECAST_OPTIONS = ("none", "fusion")  # on a GPU between four of which no link is known


def layers_of(labels: pd.DataFrame) -> pd.DataFrame:
    """The `layers` table: how many layers each model has, as the artifact's labels say."""
    return labels[labels["layers"] > 0].groupby("model")["layers"].max().reset_index()


def files_of_new_gpus(
    labels: Iterable[str], device_files: Iterable[str], published: str | os.PathLike[str]
) -> dict[str, Path]:
    """The device file of each GPU that label files name and the artifact does not know, by the GPU's name.

    Refused are a GPU that no device file describes, a cell of it that no predictor could forecast, and a device
    file that no label needs.
    """
    measured, _ = read_published(published)
    workload = [name for name in CELL_KEY if name != "device"]
    workloads = set(measured[workload].itertuples(index=False, name=None))
    own = {load_device(path).name: Path(path) for path in device_files}
    described = {load_device(path).name: path for path in sorted(DEVICES.glob("*.yaml"))} | own
    found: dict[str, Path] = {}
    for label_file in labels:
        rows = read_label_file(label_file)
        for row in rows[~rows["device"].isin(measured["device"])].to_dict("records"):
            if row["device"] not in described:
                remedy = "name its device file under `devices:`; known are " + ", ".join(sorted(described))
                raise InputError(label_file, f"the GPU {row['device']} is not described anywhere", remedy)
            if row["option"] not in FORECAST_OPTIONS or tuple(row[name] for name in workload) not in workloads:
                cell = ", ".join(str(row[name]) for name in CELL_KEY)
                remedy = "on such a GPU give workloads of resources/published/end_to_end.csv, on one GPU"
                raise InputError(
                    label_file, f"the cell ({cell}) cannot be forecast, the artifact has no graph of it", remedy
                )
            found[row["device"]] = described[row["device"]]
    for name, path in own.items():
        if name not in found:
            raise InputError(path, f"no label needs the device file of {name}", "remove it from `devices:`")
    return found


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
