"""The forecast of the study's models on the hosts' GPUs: compute, kernels and FLOPs of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.graph.tracer import trace
from tilecast.hardware.device import devices, load_device
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


def forecasts(
    models: Wanted, names: Iterable[str], weights: Path = PRETRAINED, heads: Mapping[str, int] | None = None
) -> Compute:
    """Trace every model once and forecast all kernels of a device as one table; the result looks a batch up."""
    graphs = {}
    for name, dtype, batch in models:
        if name != NO_OP:
            spec = vit(name, (heads or {}).get(name))
            assert spec is not None
            graph = trace(spec, mode="inference", batch_size=batch, dtype=dtype, attention="fused")
            graphs[name, dtype, batch] = graph.kernels()
    kernels = pd.concat(list(graphs.values()), ignore_index=True)
    owner = np.repeat(np.arange(len(graphs)), [len(table) for table in graphs.values()])
    times = kernels["count"].to_numpy(dtype=float)
    predictor = Tilecast.load(weights)
    found: dict[tuple[str, str, str, int], Work] = {}
    for device in names:
        forecast = predictor.predict(kernels, load_device(device))
        ends = [forecast[end].to_numpy(dtype=float) * times for end in ENDS]
        for place, key in enumerate(graphs):
            mine = owner == place
            middle, low, high = (end[mine] for end in ends)
            total = conformal.total(middle, low, high, kernels["family"].to_numpy()[mine])
            flops = float((kernels["flops"].to_numpy(dtype=float) * times)[mine].sum())
            found[(device, *key)] = Work(flops, int(times[mine].sum()), *total)
    return lambda device, model, dtype, batch: found[device, model, dtype, batch]


def of_this_host(study: Study, topology: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `model.against` starts from: the study's models on those of this host's GPUs that are described."""
    models = list(dict.fromkeys((cell.model, cell.dtype, study.batch_size) for cell in cells(study)[0]))
    known = devices()
    kinds = {entry["gpu"]: entry["name"].replace(" ", "_") for entry in topology["gpus"]}
    kinds = {gpu: kind for gpu, kind in kinds.items() if kind in known and gpu in study.gpus}
    if not kinds or all(model == NO_OP for model, _, _ in models):
        return []
    compute = forecasts(models, set(kinds.values()), heads=study.heads)
    return [
        {"gpu": gpu, "model": model, "dtype": dtype} | asdict(compute(kind, model, dtype, batch))
        for gpu, kind in kinds.items()
        for model, dtype, batch in models
        if model != NO_OP
    ]
