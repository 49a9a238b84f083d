"""GPUs that a user's labels name and the artifact does not know: described by device files, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tilecast.artifact.labels import read_label_file
from tilecast.artifact.published import read_published
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device, row_of_table
from tilecast.hardware.device_file import devices, load_device
from tilecast.tables.columns import CELL_KEY

FORECAST_OPTIONS = ("none", "fusion")  # four such GPUs are not forecast: the link between them is not known


def new_gpus(
    labels: Iterable[str], device_files: Iterable[str], published: str | os.PathLike[str]
) -> dict[str, dict[str, Any]]:
    """A row of the `devices` table for each GPU that label files name and the artifact does not know, by its name.

    Refused are a GPU that no device file describes, a cell of it that no predictor could forecast, and a device
    file that no label needs.
    """
    measured, _ = read_published(published)
    workloads = set(measured[list(CELL_KEY[1:])].itertuples(index=False, name=None))
    own = {device.name: (device, path) for path in device_files for device in [load_device(path)]}
    described = {name: (device, "data/devices") for name, device in devices().items()} | own
    found: dict[str, dict[str, Any]] = {}
    for path in labels:
        rows = read_label_file(path)
        for row in rows[~rows["device"].isin(measured["device"])].to_dict("records"):
            _check(row, path, described, workloads)
            found[row["device"]] = row_of_table(*described[row["device"]])
    for name, (_, path) in own.items():
        if name not in found:
            raise InputError(path, f"no label needs the device file of {name}", "remove it from `devices:`")
    return found


def _check(
    row: Mapping[Any, Any], path: str, described: Mapping[str, tuple[Device, str]], workloads: set[tuple[Any, ...]]
) -> None:
    """Refuse a label that no predictor could forecast."""
    device, *workload = (row[name] for name in CELL_KEY)
    if device not in described:
        remedy = "name its device file under `devices:`; known are " + ", ".join(sorted(described))
        raise InputError(path, f"the GPU {device} is not described anywhere", remedy)
    if row["option"] not in FORECAST_OPTIONS or tuple(workload) not in workloads:
        cell = ", ".join(map(str, (device, *workload)))
        remedy = "on such a GPU give workloads of resources/published/end_to_end.csv, on one GPU"
        raise InputError(path, f"the cell ({cell}) cannot be forecast, the artifact has no graph of it", remedy)
