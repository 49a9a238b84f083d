"""Models traced here, forecast like the artifact's graphs, to be held beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tilecast.hardware.device import Device
from tilecast.models.choices import Cell
from tilecast.predict.kernel import KERNEL_COLUMNS, HostAware, Predictor
from tilecast.predict.workloads import WORKLOAD
from tilecast.tables.declared.graphs import KERNEL_LIST
from tilecast.tables.io import read

if TYPE_CHECKING:
    import pandas as pd

# Phases that a label measures together, by the column they add up to.
PASSES = {"forward_ms": ("forward",), "backward_ms": ("backward", "accumulation")}
_KERNEL = [name for name in KERNEL_COLUMNS if name not in ("phase", "count")]


def read_traced(paths: list[str]) -> pd.DataFrame:
    """Kernel lists of traced plain workloads, files `<model>-<mode>-<sequence>-<batch>`, as one table."""
    import pandas as pd

    parts = []
    for path in paths:
        part = read(path, KERNEL_LIST)[list(KERNEL_COLUMNS)]
        part[WORKLOAD] = *Cell.parse(Path(path).stem), "none"
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def forecast_traced(predictor: Predictor, kernels: pd.DataFrame, devices: Mapping[str, Device]) -> pd.DataFrame:
    """The `predictions` table of every traced workload on every device: distinct kernels in one batch a device.

    A kernel list does not say in which order kernels run, so a pass takes what its GPU takes, or else its host.
    """
    import pandas as pd

    distinct = kernels[_KERNEL].drop_duplicates(ignore_index=True)
    kernel = kernels[_KERNEL].merge(distinct.reset_index(), on=_KERNEL, how="left")["index"].to_numpy()
    cells = kernels[WORKLOAD].drop_duplicates(ignore_index=True)
    cell = kernels.groupby(WORKLOAD, sort=False).ngroup().to_numpy()
    often, ops = kernels["count"].to_numpy(dtype=float), distinct["op"].to_numpy()
    parts = []
    for name, device in devices.items():
        times = predictor.predict(distinct, device)["latency_ms"].to_numpy(dtype=float)[kernel]
        part = cells.assign(predictor=predictor.name, device=name, source="traced here")
        for column, phases in PASSES.items():
            runs = np.where(kernels["phase"].isin(phases), often, 0.0)
            part[column] = np.bincount(cell, runs * times, len(cells))
            if isinstance(predictor, HostAware):
                issued = predictor.issue_ms(ops, phases[0])[kernel]
                part[column] = np.maximum(part[column], np.bincount(cell, runs * issued, len(cells)))
        part["latency_ms"] = part["forward_ms"] + part["backward_ms"]
        part.loc[part["mode"] == "inference", "backward_ms"] = np.nan
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
