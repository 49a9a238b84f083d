"""The pipeline as four stages that overlap: the slowest sets the throughput, so only it can be slowed by distance.

batch time = max(copy in, compute, copy out, launch); penalty = remote batch time / local batch time - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tilecast.locality.study import NO_OP, output_bytes, sample_bytes
from tilecast.locality.topology import UNKNOWN, local_node
from tilecast.tables import locality as _tables  # noqa: F401 (declares the tables)
from tilecast.tables.schema import TABLES

HEAVY = "vit16x12x1024"
ENDS = 3  # a forecast: middle, low and high end of its interval
Ends = tuple[float, float, float]


@dataclass(frozen=True)
class Work:
    """One batch: FLOPs, milliseconds of the device, and of the host that issues it, each with its interval."""

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
        """The slowest."""
        times = {"h2d": self.h2d, "compute": self.compute, "d2h": self.d2h, "launch": self.launch}
        return max(times, key=lambda name: times[name])

    @property
    def batch_ms(self) -> float:
        """Time a batch once the pipeline is full."""
        return max(self.h2d, self.compute, self.d2h, self.launch)


def stages(work: Work, model: str, dtype: str, batch: int, rates: tuple[float, float], end: int = 0) -> Stages:
    """The stages of one batch over links of `rates` bytes per second, in and out; `end` of what is forecast."""
    size_in, size_out = batch * sample_bytes(dtype), batch * output_bytes(model, dtype)
    return Stages(size_in / rates[0] * 1e3, work.compute_ms[end], size_out / rates[1] * 1e3, work.launch_ms[end])


def sources(model: str, copies: str) -> dict[str, str | None]:
    """Where the figures of a batch's stages come from; the no-op computes nothing, and only copies are issued."""
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
    known = hosts.dropna(subset=[name for name in hosts.columns if name.endswith("_per_s")])
    cells = list(wanted)
    for host in known.to_dict("records"):
        near = (host["h2d_local_bytes_per_s"], host["d2h_local_bytes_per_s"])
        far = (host["h2d_remote_bytes_per_s"], host["d2h_remote_bytes_per_s"])
        for model, dtype, batch in cells:
            work = compute(host["gpu"], model, dtype, batch)
            local, remote = (
                [stages(work, model, dtype, batch, rates, end) for end in range(ENDS)] for rates in (near, far)
            )
            here, there = local[0], remote[0]
            moved = batch * (sample_bytes(dtype) + output_bytes(model, dtype))
            rows.append(
                {
                    "host": host["host"],
                    "gpu": host["gpu"],
                    "model": model,
                    "dtype": dtype,
                    "batch_size": batch,
                    **sources(model, host["passport"]),
                    "flops_per_byte": work.flops / moved,
                    "compute_ms": here.compute,
                    "launch_ms": here.launch,
                    "h2d_local_ms": here.h2d,
                    "h2d_remote_ms": there.h2d,
                    "d2h_local_ms": here.d2h,
                    "d2h_remote_ms": there.d2h,
                    "bound_local": here.bound,
                    "bound_remote": there.bound,
                    "local_per_s": batch / here.batch_ms * 1e3,
                    "remote_per_s": batch / there.batch_ms * 1e3,
                    "penalty_percent": penalty_percent(here, there),
                    "low_percent": penalty_percent(local[2], remote[2]),
                    "high_percent": penalty_percent(local[1], remote[1]),
                }
            )
    return pd.DataFrame(rows, columns=list(TABLES["numa_predicted"].columns))


def expected(
    cells: Iterable[Mapping[str, Any]],
    batch: int,
    works: Mapping[tuple[int, str, str], Work],
    links: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """What is forecast of a study's runs before any is made: stages and throughput of each cell.

    `works`: (GPU, model, dtype) -> one batch; `links`: profiles of the no-op from each node. A cell lacks a
    forecast where its GPU is not described, where no link was measured, and where it is compiled.
    ASSUME: copies of a model run at the no-op's rates, and issuing takes as long from any node.
    """  # fmt: skip
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
            {name: cell[name] for name in ("gpu", "cpu_node", "memory_node", "model", "dtype")}
            | {"h2d_ms": found.h2d, "compute_ms": found.compute, "d2h_ms": found.d2h, "launch_ms": found.launch}
            | sources(cell["model"], "measured")
            | {"bound": found.bound, "predicted_per_s": batch / found.batch_ms * 1e3}
        )
    return rows


def against(
    runs: pd.DataFrame, forecasts: Iterable[Mapping[str, Any]], topology: Mapping[str, Any]
) -> pd.DataFrame:
    """The `numa_against` table: the rows of `expected` beside the median measured, and the penalties of both."""
    keys = ["gpu", "cpu_node", "memory_node", "model", "dtype"]
    done = runs[(runs["status"] == "ok") & ~runs["compiled"]]
    medians = done.groupby(keys)["samples_per_s"].median().to_dict()
    rows = {}
    for forecast in forecasts:
        place = tuple(forecast[key] for key in keys)
        if place in medians:
            rows[place] = dict(forecast) | {"measured_per_s": medians[place]}
    for (gpu, cpu, memory, model, dtype), row in rows.items():
        node = local_node(topology, gpu)
        row["local"] = (cpu, memory) == (node, node)
        row["ape_percent"] = 100 * abs(row["predicted_per_s"] / row["measured_per_s"] - 1)
        here = rows.get((gpu, node, node, model, dtype)) if node != UNKNOWN and not row["local"] else None
        for name in ("predicted", "measured") if here else ():
            assert here is not None
            row[f"{name}_penalty_percent"] = 100 * (here[f"{name}_per_s"] / row[f"{name}_per_s"] - 1)
    return pd.DataFrame(list(rows.values()), columns=list(TABLES["numa_against"].columns))


def arithmetic(claimed: Mapping[str, float], heavy_flops: float) -> pd.DataFrame:
    """What the guide's own figures come to: the `numa_arithmetic` table.

    `claimed` are those figures by name, `heavy_flops` what a sample of vit16x12x1024 takes.
    """
    image = sample_bytes("fp32")
    heavy = heavy_flops / claimed["rate_flops_per_s"] * 1e3
    copy = image / claimed["pcie4_bytes_per_s"] * 1e3
    pace = claimed["numa_minutes"] * 60 / 48
    longer = pace + 1000 / claimed["least_samples_per_s"]  # a run of 2000 samples instead of 1000
    at_that_pace = (
        ("quick_test", 3, 100, pace), ("quick_test_gpus", 12, 100, pace), ("scaling_study", 9, 2000, longer),
        ("scaling_compile", 18, 2000, longer), ("comprehensive", 96, 500, pace),
    )  # fmt: skip
    rows: list[tuple[str, float, str, str]] = [
        ("image_bytes", image, "bytes", "3 x 224 x 224 values of 4 bytes"),
        ("pcie4_samples_per_s", claimed["pcie4_bytes_per_s"] / image, "samples/s", "what PCIe 4 carries"),
        (
            "claimed_maximum_bytes_per_s", claimed["samples_per_s"] * image, "bytes/s",
            "what the claimed maximum throughput asks of the link",
        ),
        (
            "link_used_percent", 100 * claimed["samples_per_s"] * image / claimed["pcie4_bytes_per_s"], "%",
            "its share of that link: the rest of the time something else is waited for",
        ),
        (
            "claimed_maximum_batch_ms", claimed["batch"] / claimed["samples_per_s"] * 1e3, "ms",
            "time a batch at the claimed maximum, which copies nothing but images",
        ),
        ("heavy_compute_ms", heavy, "ms", f"a sample of {HEAVY} at 40 TFLOP/s"),
        ("heavy_copy_ms", copy, "ms", "its copy over PCIe 4"),
        ("heavy_copy_percent", 100 * copy / heavy, "%", "copy of compute: what could be hidden 1/this times over"),
        (
            "heavy_slowdown_needed", heavy * (1 + claimed["heavy_penalty_percent"] / 100) / copy, "times",
            "how much slower copies would have to be for a 10 % penalty of overlapped stages",
        ),
        ("numa_study_run_s", pace, "s", "35 minutes over 48 runs of 1000 samples: the guide's own pace"),
        (
            "numa_study_timed_s", 1000 / claimed["least_samples_per_s"], "s",
            "1000 samples at the least claimed throughput: what of such a run is timed, at most",
        ),
        *((f"{name}_min", runs * run_s / 60, "min", f"{runs} runs of {samples} samples at that pace")
          for name, runs, samples, run_s in at_that_pace),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(TABLES["numa_arithmetic"].columns))


# The figures of the guide (and two of hardware) that the arithmetic starts from.
GUIDE = {
    "samples_per_s": 7000.0,
    "least_samples_per_s": 300.0,
    "batch": 10.0,
    "heavy_penalty_percent": 10.0,
    "numa_minutes": 35.0,
    "rate_flops_per_s": 4e13,
    "pcie4_bytes_per_s": 2.52e10,  # 0.8 of 31.5 GB/s
}
