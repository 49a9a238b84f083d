"""Forecasts of the studies' models on GPUs: FLOPs, compute time and launch time of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.paths import WEIGHTS
from tilecast.graph.source import kernel_graph
from tilecast.hardware.device_file import devices, load_device
from tilecast.locality.guide import NO_OP
from tilecast.locality.model import Compute, Work, expected
from tilecast.locality.study import Study, cells
from tilecast.locality.vits import vit
from tilecast.predict import interval
from tilecast.predict.kernel import HOSTS
from tilecast.predict.tilecast import Tilecast

COPIES = 2  # issued with each batch: in and out
Wanted = list[tuple[str, str, int]]  # model, dtype, batch size


def wanted(studies: Iterable[Study]) -> Wanted:
    """Models, formats and batch sizes of the studies that compare nodes; one node alone has no penalty."""
    found: dict[tuple[str, str, int], None] = {}
    for study in studies:
        if len(study.nodes) > 1:
            for cell in cells(study)[0]:
                found[cell.model, cell.dtype, study.batch_size] = None
    return list(found)


def forecasts(
    models: Wanted,
    names: Iterable[str],
    weights: Path = WEIGHTS / "tilecast",
    heads: Mapping[str, int] | None = None,
) -> Compute:
    """A function that looks up the forecast of one batch; each model is traced once."""
    graphs = {}
    for name, dtype, batch in models:
        spec = vit(name, (heads or {}).get(name))
        if spec is not None:
            graph = kernel_graph(spec, mode="inference", batch_size=batch, dtype=dtype, attention="fused")
            graphs[name, dtype, batch] = graph.kernels()
    predictor = Tilecast.load(weights)
    # ASSUME: a copy takes the host as long to issue as a kernel of an operation nobody timed
    copies = [COPIES * float(predictor.issue_ms(np.array(["copy"]), "forward", share)[0]) for share in HOSTS]
    nothing = Work(0.0, (0.0, 0.0, 0.0), (copies[0], copies[1], copies[2]))
    found: dict[tuple[str, str, str, int], Work] = {}
    if graphs:
        kernels = pd.concat(list(graphs.values()), ignore_index=True)
        owner = np.repeat(np.arange(len(graphs)), [len(table) for table in graphs.values()])
        times = kernels["count"].to_numpy(dtype=float)
        work = times * kernels["flops"].to_numpy(dtype=float)
        families = kernels["family"].to_numpy()
        issued = [times * predictor.issue_ms(kernels["op"].to_numpy(), "forward", share) for share in HOSTS]
        for device in names:
            forecast = predictor.predict(kernels, load_device(device))
            ends = [forecast[end].to_numpy(dtype=float) * times for end in ("latency_ms", "low_ms", "high_ms")]
            for place, key in enumerate(graphs):
                mine = owner == place
                middle, low, high = (end[mine] for end in ends)
                total = interval.total(middle, low, high, families[mine])
                launch = [copy + float(host[mine].sum()) for copy, host in zip(copies, issued)]
                found[(device, *key)] = Work(float(work[mine].sum()), total, (launch[0], launch[1], launch[2]))
    return lambda device, model, *rest: nothing if model == NO_OP else found[(device, model, *rest)]


def of_this_host(
    study: Study, topology: Mapping[str, Any], links: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Forecasts of the study's cells on those of this host's GPUs that are described."""
    chosen = [asdict(cell) for cell in cells(study)[0]]
    models = list(dict.fromkeys((cell["model"], cell["dtype"], study.batch_size) for cell in chosen))
    known = devices()
    kinds = {entry["gpu"]: entry["name"].replace(" ", "_") for entry in topology["gpus"]}
    kinds = {gpu: kind for gpu, kind in kinds.items() if kind in known and gpu in study.gpus}
    if not kinds:
        return []
    compute = forecasts(models, set(kinds.values()), heads=study.heads)
    works = {
        (gpu, model, dtype): compute(kind, model, dtype, batch)
        for gpu, kind in kinds.items()
        for model, dtype, batch in models
    }
    return expected(chosen, study.batch_size, works, links)
