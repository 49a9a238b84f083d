"""The forecast of the study's models on the hosts' GPUs: compute, kernels and FLOPs of one batch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from tilecast.graph.tracer import trace
from tilecast.hardware.device import load_device
from tilecast.numa.model import ENDS, Compute, Work
from tilecast.numa.study import NO_OP, Study, cells, vit
from tilecast.predict import conformal
from tilecast.predict.tilecast import Tilecast

PRETRAINED = Path(__file__).resolve().parents[3] / "resources/pretrained/tilecast"
Wanted = list[tuple[str, str, int]]  # model, dtype, batch size


def wanted(studies: Iterable[Study]) -> Wanted:
    """What the studies that compare nodes run; one node alone has no penalty to forecast."""
    found: dict[tuple[str, str, int], None] = {}
    for study in studies:
        if len(study.nodes) > 1:
            for cell in cells(study)[0]:
                found[cell.model, cell.dtype, study.batch_size] = None
    return list(found)


def forecasts(models: Wanted, devices: Iterable[str], weights: Path = PRETRAINED) -> Compute:
    """Trace every model once and forecast all kernels of a device as one table; the result looks a batch up."""
    graphs = {}
    for name, dtype, batch in models:
        if name != NO_OP:
            spec = vit(name)
            assert spec is not None
            graph = trace(spec, mode="inference", batch_size=batch, dtype=dtype, attention="fused")
            graphs[name, dtype, batch] = graph.kernels()
    kernels = pd.concat(list(graphs.values()), ignore_index=True)
    owner = np.repeat(np.arange(len(graphs)), [len(table) for table in graphs.values()])
    times = kernels["count"].to_numpy(dtype=float)
    predictor = Tilecast.load(weights)
    found: dict[tuple[str, str, str, int], Work] = {}
    for device in devices:
        forecast = predictor.predict(kernels, load_device(device))
        ends = [forecast[end].to_numpy(dtype=float) * times for end in ENDS]
        for place, key in enumerate(graphs):
            mine = owner == place
            middle, low, high = (end[mine] for end in ends)
            total = conformal.total(middle, low, high, kernels["family"].to_numpy()[mine])
            flops = float((kernels["flops"].to_numpy(dtype=float) * times)[mine].sum())
            found[(device, *key)] = Work(flops, int(times[mine].sum()), *total)
    return lambda device, model, dtype, batch: found[device, model, dtype, batch]
