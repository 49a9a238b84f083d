"""Throughput of the pipeline as four overlapping stages: the slowest stage sets it.

batch time = max(copies, compute, launch), copies = longer way + shorter way x (1 / both-ways share - 1);
where the host waits for its copies (pageable memory): copy in + max(compute, launch) + copy out;
penalty = remote batch time / local batch time - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd

from tilecast.base.statistics import absolute_error_percent
from tilecast.locality.guide import NO_OP, output_bytes, sample_bytes
from tilecast.locality.host import Host, Rates
from tilecast.locality.topology import UNKNOWN, local_node
from tilecast.tables.declared.locality import PREDICTED

Ends = tuple[float, float, float]  # of a forecast: middle, low and high end of its interval
PLACE = ["gpu", "cpu_node", "memory_node", "model", "dtype", "compiled"]  # columns that name what is forecast


@dataclass(frozen=True)
class Work:
    """One batch: FLOPs, and milliseconds of the device and of the host that launches it, with intervals."""

    flops: float
    compute_ms: Ends
    launch_ms: Ends


Wanted = tuple[str, str, int, bool]  # model, dtype, batch size, compiled
Compute = Callable[[str, str, str, int, bool], Work]  # device, and the same


@dataclass(frozen=True)
class Stages:
    """Milliseconds of the four stages of one batch."""

    h2d: float
    compute: float
    d2h: float
    launch: float
    both_ways_share: float = 1.0  # of its rate, that a copy keeps while one the other way runs
    waits: bool = False  # the host waits for every copy

    @property
    def each_ms(self) -> dict[str, float]:
        """Each stage by name."""
        return {"h2d": self.h2d, "compute": self.compute, "d2h": self.d2h, "launch": self.launch}

    @property
    def bound(self) -> str:
        """The slowest stage."""
        return max(self.each_ms, key=self.each_ms.__getitem__)

    @property
    def batch_ms(self) -> float:
        """Time per batch once the pipeline is full."""
        working = max(self.compute, self.launch)
        if self.waits:
            return self.h2d + working + self.d2h
        shorter, longer = sorted((self.h2d, self.d2h))
        return max(longer + shorter * (1 / self.both_ways_share - 1), working)


def stages(work: Work, model: str, dtype: str, batch: int, rates: Rates, end: int = 0) -> Stages:
    """The stages of one batch at a node's rates; `end` chooses one of the forecast's."""
    return Stages(
        h2d=batch * sample_bytes(dtype) / rates.in_bytes_per_s * 1e3,
        compute=work.compute_ms[end],
        d2h=batch * output_bytes(model, dtype) / rates.out_bytes_per_s * 1e3,
        launch=work.launch_ms[end],
        both_ways_share=rates.both_ways_share,
        waits=rates.waits,
    )


def sources(model: str, copies: str, compiled: bool) -> dict[str, str | None]:
    """How the figures of each stage were found; the no-op computes nothing, and only its copies are launched."""
    forecast = model != NO_OP
    return {
        "copies_from": copies,
        "compute_from": "predicted" if forecast else None,
        "launch_from": "predicted" if forecast and not compiled else "assumed",
    }


def penalty_percent(local: Stages, remote: Stages) -> float:
    """How much longer a batch takes from the remote node."""
    return 100 * (remote.batch_ms / local.batch_ms - 1)


def predicted(hosts: Iterable[Host], wanted: Iterable[Wanted], compute: Compute) -> pd.DataFrame:
    """The `numa_predicted` table: every model, format, batch size, compiled or not, on every host.

    The interval of a penalty is over the forecast's and over every case of the host.
    """
    rows = []
    cells = list(wanted)
    for host in hosts:
        for model, dtype, batch, compiled in cells:
            work = compute(host.gpu, model, dtype, batch, compiled)
            about = (work, model, dtype, batch)
            pairs = [
                (stages(*about, near, end), stages(*about, far, end))
                for (near, far), end in product(host.cases, range(3))
            ]
            penalties = [penalty_percent(*pair) for pair in pairs]
            local, remote = pairs[0]
            row: dict[str, Any] = {"host": host.name, "gpu": host.gpu, "memory": host.memory, "model": model}
            row |= {"dtype": dtype, "batch_size": batch, "compiled": compiled}
            row |= {"compute_ms": local.compute, "launch_ms": local.launch}
            for side, found in (("local", local), ("remote", remote)):
                row |= {f"h2d_{side}_ms": found.h2d, f"d2h_{side}_ms": found.d2h, f"bound_{side}": found.bound}
                row[f"{side}_per_s"] = batch / found.batch_ms * 1e3
            row["penalty_percent"] = penalties[0]
            row |= {"low_percent": min(penalties), "high_percent": max(penalties)}
            row["flops_per_byte"] = work.flops / (batch * (sample_bytes(dtype) + output_bytes(model, dtype)))
            rows.append(row | sources(model, host.copies_from, compiled))
    return pd.DataFrame(rows, columns=list(PREDICTED.columns))


def expected(
    cells: Iterable[Mapping[str, Any]],
    batch: int,
    works: Mapping[tuple[int, str, str, bool], Work],
    links: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Stages and throughput forecast of a study's cells before any is run.

    `works`: one batch by (GPU, model, dtype, compiled); `links`: profiles of the no-op from each node, in which
    copies slow each other already. A cell lacks a forecast where its GPU is not described or no link was measured.
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
        work = works.get((cell["gpu"], cell["model"], cell["dtype"], cell["compiled"]))
        into, out = rates.get((cell["gpu"], cell["memory_node"], cell["dtype"]), (None, None))
        if work is None or into is None or out is None:
            continue
        found = stages(work, cell["model"], cell["dtype"], batch, Rates(into, out))
        rows.append(
            {name: cell[name] for name in PLACE}
            | {f"{name}_ms": value for name, value in found.each_ms.items()}
            | sources(cell["model"], "measured", cell["compiled"])
            | {"bound": found.bound, "predicted_per_s": batch / found.batch_ms * 1e3}
        )
    return rows


def against(
    runs: pd.DataFrame, forecasts: Iterable[Mapping[str, Any]], topology: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of the `numa_against` table: each forecast of `expected` beside the measured median, with penalties."""
    done = runs[runs["status"] == "ok"]
    medians = done.groupby(PLACE)["samples_per_s"].median().to_dict()
    rows = {}
    for forecast in forecasts:
        place = tuple(forecast[key] for key in PLACE)
        if place in medians:
            rows[place] = dict(forecast) | {"measured_per_s": medians[place]}
    for (gpu, cpu, memory, *kind), row in rows.items():
        node = local_node(topology, gpu)
        row["local"] = (cpu, memory) == (node, node)
        row["ape_percent"] = absolute_error_percent(row["predicted_per_s"], row["measured_per_s"])
        here = rows.get((gpu, node, node, *kind))
        if node == UNKNOWN or row["local"] or here is None:
            continue
        for name in ("predicted", "measured"):
            row[f"{name}_penalty_percent"] = 100 * (here[f"{name}_per_s"] / row[f"{name}_per_s"] - 1)
    return list(rows.values())
