"""Throughput of the pipeline as four overlapping stages: the slowest stage sets it.

batch time = max(copy in, compute, copy out, launch); penalty = remote batch time / local batch time - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from tilecast.base.statistics import absolute_error_percent
from tilecast.locality.guide import NO_OP, output_bytes, sample_bytes
from tilecast.locality.topology import UNKNOWN, local_node
from tilecast.tables.declared.locality import PREDICTED

Ends = tuple[float, float, float]  # of a forecast: middle, low and high end of its interval
PLACE = ["gpu", "cpu_node", "memory_node", "model", "dtype"]  # columns that name what is forecast


@dataclass(frozen=True)
class Work:
    """One batch: FLOPs, and milliseconds of the device and of the host that launches it, with intervals."""

    flops: float
    compute_ms: Ends
    launch_ms: Ends


Compute = Callable[[str, str, str, int], Work]  # device, model, dtype, batch size


@dataclass(frozen=True)
class Stages:
    """Milliseconds of the four stages of one batch."""

    h2d: float
    compute: float
    d2h: float
    launch: float

    @property
    def bound(self) -> str:
        """The slowest stage."""
        return max(vars(self), key=vars(self).__getitem__)

    @property
    def batch_ms(self) -> float:
        """Time per batch once the pipeline is full."""
        return float(max(vars(self).values()))


def stages(work: Work, model: str, dtype: str, batch: int, rates: tuple[float, float], end: int = 0) -> Stages:
    """The stages of one batch at link rates (in, out) in bytes per second; `end` chooses one of the forecast's."""
    in_bytes, out_bytes = batch * sample_bytes(dtype), batch * output_bytes(model, dtype)
    return Stages(in_bytes / rates[0] * 1e3, work.compute_ms[end], out_bytes / rates[1] * 1e3, work.launch_ms[end])


def sources(model: str, copies: str) -> dict[str, str | None]:
    """How the figures of each stage were found; the no-op computes nothing, and only its copies are launched."""
    forecast = model != NO_OP
    return {
        "copies_from": copies,
        "compute_from": "predicted" if forecast else None,
        "launch_from": "predicted" if forecast else "assumed",
    }


def penalty_percent(local: Stages, remote: Stages) -> float:
    """How much longer a batch takes from the remote node."""
    return 100 * (remote.batch_ms / local.batch_ms - 1)


def predicted(hosts: pd.DataFrame, wanted: Iterable[tuple[str, str, int]], compute: Compute) -> pd.DataFrame:
    """The `numa_predicted` table: every (model, dtype, batch size) on every host whose rates are all known."""
    rows = []
    cells = list(wanted)
    known = hosts.dropna(subset=[name for name in hosts.columns if name.endswith("_per_s")])
    for host in known.to_dict("records"):
        near, far = (
            (host[f"h2d_{side}_bytes_per_s"], host[f"d2h_{side}_bytes_per_s"]) for side in ("local", "remote")
        )
        for model, dtype, batch in cells:
            work = compute(host["gpu"], model, dtype, batch)
            local, remote = (
                [stages(work, model, dtype, batch, rates, end) for end in range(3)] for rates in (near, far)
            )
            row = {"host": host["host"], "gpu": host["gpu"], "model": model, "dtype": dtype, "batch_size": batch}
            row |= {"compute_ms": local[0].compute, "launch_ms": local[0].launch}
            for side, found in (("local", local[0]), ("remote", remote[0])):
                row |= {f"h2d_{side}_ms": found.h2d, f"d2h_{side}_ms": found.d2h, f"bound_{side}": found.bound}
                row[f"{side}_per_s"] = batch / found.batch_ms * 1e3
            for name, end in (("penalty", 0), ("low", 2), ("high", 1)):
                row[f"{name}_percent"] = penalty_percent(local[end], remote[end])
            row["flops_per_byte"] = work.flops / (batch * (sample_bytes(dtype) + output_bytes(model, dtype)))
            rows.append(row | sources(model, host["passport"]))
    return pd.DataFrame(rows, columns=list(PREDICTED.columns))


def expected(
    cells: Iterable[Mapping[str, Any]],
    batch: int,
    works: Mapping[tuple[int, str, str], Work],
    links: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Stages and throughput forecast of a study's cells before any is run.

    `works`: one batch by (GPU, model, dtype); `links`: profiles of the no-op from each node. A cell lacks a
    forecast where its GPU is not described, where no link was measured, and where it is compiled.
    ASSUME: copies of a model run at the no-op's rates, and launching takes as long from any node.
    """
    rates = {
        (link["gpu"], link["memory_node"], link["dtype"]): tuple(
            link["measures"][f"{way}_p50_bytes_per_s"] for way in ("h2d", "d2h")
        )
        for link in links
        if link["status"] == "ok"
    }
    rows = []
    for cell in cells:
        work = works.get((cell["gpu"], cell["model"], cell["dtype"]))
        rate = rates.get((cell["gpu"], cell["memory_node"], cell["dtype"]), (None, None))
        if work is None or None in rate or cell["compiled"]:
            continue
        found = stages(work, cell["model"], cell["dtype"], batch, rate)
        rows.append(
            {name: cell[name] for name in PLACE}
            | {f"{name}_ms": value for name, value in asdict(found).items()}
            | sources(cell["model"], "measured")
            | {"bound": found.bound, "predicted_per_s": batch / found.batch_ms * 1e3}
        )
    return rows


def against(
    runs: pd.DataFrame, forecasts: Iterable[Mapping[str, Any]], topology: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the `numa_against` table: each forecast of `expected` beside the measured median, with penalties."""
    done = runs[(runs["status"] == "ok") & ~runs["compiled"]]
    medians = done.groupby(PLACE)["samples_per_s"].median().to_dict()
    rows = {}
    for forecast in forecasts:
        place = tuple(forecast[key] for key in PLACE)
        if place in medians:
            rows[place] = dict(forecast) | {"measured_per_s": medians[place]}
    for (gpu, cpu, memory, model, dtype), row in rows.items():
        node = local_node(topology, gpu)
        row["local"] = (cpu, memory) == (node, node)
        row["ape_percent"] = absolute_error_percent(row["predicted_per_s"], row["measured_per_s"])
        here = rows.get((gpu, node, node, model, dtype))
        if node == UNKNOWN or row["local"] or here is None:
            continue
        for name in ("predicted", "measured"):
            row[f"{name}_penalty_percent"] = 100 * (here[f"{name}_per_s"] / row[f"{name}_per_s"] - 1)
    return list(rows.values())
