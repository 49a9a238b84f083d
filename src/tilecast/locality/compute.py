"""Forecasts of the studies' models on GPUs: FLOPs, compute time and launch time of one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.paths import WEIGHTS
from tilecast.graph.fuse import fuse
from tilecast.graph.source import kernel_graph
from tilecast.hardware.device_file import devices, load_device
from tilecast.locality.guide import NO_OP
from tilecast.locality.model import Compute, Wanted, Work, expected
from tilecast.locality.study import Study, cells
from tilecast.locality.vits import vit
from tilecast.multigpu.kernels import LEAST_MS
from tilecast.predict import interval
from tilecast.predict.kernel import HOSTS
from tilecast.predict.tilecast import Tilecast

COPIES = 2  # issued with each batch: in and out


def wanted(studies: Iterable[Study]) -> list[Wanted]:
    """What the studies that compare nodes run; one node alone has no penalty."""
    found: dict[Wanted, None] = {}
    for study in studies:
        if len(study.nodes) > 1:
            for cell in cells(study)[0]:
                found[cell.model, cell.dtype, study.batch_size, cell.compiled] = None
    return list(found)


def forecasts(
    models: Iterable[Wanted],
    names: Iterable[str],
    weights: Path = WEIGHTS / "tilecast",
    heads: Mapping[str, int] | None = None,
) -> Compute:
    """A function that looks up the forecast of one batch; each model is traced once."""
    graphs = {}
    for name, dtype, batch, compiled in models:
        spec = vit(name, (heads or {}).get(name))
        if spec is not None:
            graph = kernel_graph(spec, mode="inference", batch_size=batch, dtype=dtype, attention="fused")
            graphs[name, dtype, batch, compiled] = (fuse(graph) if compiled else graph).kernels()
    predictor = Tilecast.load(weights)
    # ASSUME: a copy takes the host as long to issue as a kernel of an operation nobody timed
    copies = [COPIES * float(predictor.issue_ms(np.array(["copy"]), "forward", share)[0]) for share in HOSTS]
    nothing = Work(0.0, (0.0, 0.0, 0.0), (copies[0], copies[1], copies[2]))
    found: dict[tuple[str, str, str, int, bool], Work] = {}
    if graphs:
        kernels = pd.concat(list(graphs.values()), ignore_index=True)
        owner = np.repeat(np.arange(len(graphs)), [len(table) for table in graphs.values()])
        times = kernels["count"].to_numpy(dtype=float)
        work = times * kernels["flops"].to_numpy(dtype=float)
        families = kernels["family"].to_numpy()
        ops = kernels["op"].to_numpy()
        issued = [times * predictor.issue_ms(ops, "forward", share) for share in HOSTS]
        # ASSUME: launching compiled code takes the least that any operation takes its host, between a CUDA graph's
        # time for each kernel and what a slow host takes for as many eager ones
        replayed = [times * predictor.issue_ms(ops, "backward"), times * LEAST_MS, issued[-1]]
        for device in names:
            forecast = predictor.predict(kernels, load_device(device))
            ends = [forecast[end].to_numpy(dtype=float) * times for end in ("latency_ms", "low_ms", "high_ms")]
            for place, key in enumerate(graphs):
                mine = owner == place
                middle, low, high = (end[mine] for end in ends)
                total = interval.total(middle, low, high, families[mine])
                hosts = replayed if key[3] else issued
                launch = [copy + float(host[mine].sum()) for copy, host in zip(copies, hosts)]
                found[(device, *key)] = Work(float(work[mine].sum()), total, (launch[0], launch[1], launch[2]))
    return lambda device, model, *rest: nothing if model == NO_OP else found[(device, model, *rest)]


def of_this_host(
    study: Study, topology: Mapping[str, Any], links: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Forecasts of the study's cells on those of this host's GPUs that are described."""
    chosen = [asdict(cell) for cell in cells(study)[0]]
    models: list[Wanted] = [(cell["model"], cell["dtype"], study.batch_size, cell["compiled"]) for cell in chosen]
    models = list(dict.fromkeys(models))
    known = devices()
    kinds = {entry["gpu"]: entry["name"].replace(" ", "_") for entry in topology["gpus"]}
    kinds = {gpu: kind for gpu, kind in kinds.items() if kind in known and gpu in study.gpus}
    if not kinds:
        return []
    compute = forecasts(models, set(kinds.values()), heads=study.heads)
    works = {
        (gpu, model, dtype, compiled): compute(kind, model, dtype, batch, compiled)
        for gpu, kind in kinds.items()
        for model, dtype, batch, compiled in models
    }
    return expected(chosen, study.batch_size, works, links)
