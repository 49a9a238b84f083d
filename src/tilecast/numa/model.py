"""The pipeline as four stages that overlap: the slowest sets the throughput, so only it can be slowed by distance.

batch time = max(copy in, compute, copy out, launch); penalty = remote batch time / local batch time - 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from tilecast.numa import tables as _tables  # noqa: F401 (declares the tables)
from tilecast.numa.study import NO_OP, output_bytes, sample_bytes
from tilecast.numa.topology import local_node
from tilecast.schemas import TABLES

# ASSUME: what PyTorch's CPU side takes for one kernel in eager mode; accounts of it lie between 5 and 25 us.
LAUNCH_MS_PER_KERNEL = 0.01
HEAVY = "vit16x12x1024"
COPIES = 2  # launches a batch besides the model's kernels: copy in and out
ENDS = ("latency_ms", "low_ms", "high_ms")


@dataclass(frozen=True)
class Work:
    """What one batch asks of a device: FLOPs, kernels, and forecast milliseconds with their interval."""

    flops: float
    kernels: int
    latency_ms: float
    low_ms: float
    high_ms: float


NOTHING = Work(0.0, 0, 0.0, 0.0, 0.0)
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


def stages(work: Work, latency_ms: float, size_in: int, size_out: int, rates: tuple[float, float]) -> Stages:
    """The stages of one batch over links of `rates` bytes per second, in and out."""
    launch = LAUNCH_MS_PER_KERNEL * (work.kernels + COPIES)
    return Stages(size_in / rates[0] * 1e3, latency_ms, size_out / rates[1] * 1e3, launch)


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
            work = NOTHING if model == NO_OP else compute(host["gpu"], model, dtype, batch)
            size_in, size_out = batch * sample_bytes(dtype), batch * output_bytes(model, dtype)
            at = {end: getattr(work, end) for end in ENDS}
            local, remote = (
                {end: stages(work, value, size_in, size_out, rates) for end, value in at.items()}
                for rates in (near, far)
            )
            here, there = local["latency_ms"], remote["latency_ms"]
            rows.append(
                {
                    "host": host["host"],
                    "gpu": host["gpu"],
                    "rates": host["passport"],
                    "model": model,
                    "dtype": dtype,
                    "batch_size": batch,
                    "flops_per_byte": work.flops / (size_in + size_out),
                    "compute_ms": work.latency_ms,
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
                    "low_percent": penalty_percent(local["high_ms"], remote["high_ms"]),
                    "high_percent": penalty_percent(local["low_ms"], remote["low_ms"]),
                }
            )
    return pd.DataFrame(rows, columns=list(TABLES["numa_predicted"].columns))


def against(
    runs: pd.DataFrame, profiles: pd.DataFrame, forecasts: Iterable[Mapping[str, Any]], topology: Mapping[str, Any]
) -> pd.DataFrame:
    """The `numa_against` table: throughput measured, and forecast from compute and the no-op's rates of copying.

    `forecasts` were made before anything ran: gpu, model, dtype, and the fields of Work.
    """
    works = {
        (row["gpu"], row["model"], row["dtype"]): Work(**{field.name: row[field.name] for field in fields(Work)})
        for row in forecasts
    }
    rates = {
        (row["gpu"], row["memory_node"], row["dtype"]): (row["h2d_p50_bytes_per_s"], row["d2h_p50_bytes_per_s"])
        for row in profiles[(profiles["model"] == NO_OP) & ~profiles["compiled"]]
        .dropna(subset=["h2d_p50_bytes_per_s", "d2h_p50_bytes_per_s"])
        .to_dict("records")
    }
    done = runs[(runs["status"] == "ok") & ~runs["compiled"] & (runs["cpu_node"] == runs["memory_node"])]
    rows = []
    for keys, mine in done.groupby(["gpu", "memory_node", "model", "dtype"]):
        gpu, node, model, dtype = int(str(keys[0])), int(str(keys[1])), str(keys[2]), str(keys[3])
        work, rate = works.get((gpu, model, dtype)), rates.get((gpu, node, dtype))
        if work is None or rate is None:
            continue
        batch = int(mine["batch_size"].iloc[0])
        size_in, size_out = batch * sample_bytes(dtype), batch * output_bytes(model, dtype)
        found = stages(work, work.latency_ms, size_in, size_out, rate)
        predicted_per_s, measured_per_s = batch / found.batch_ms * 1e3, float(mine["samples_per_s"].median())
        rows.append(
            {
                "gpu": gpu,
                "memory_node": node,
                "local": local_node(topology, gpu) == node,
                "model": model,
                "dtype": dtype,
                "h2d_bytes_per_s": rate[0],
                "d2h_bytes_per_s": rate[1],
                "bound": found.bound,
                "predicted_per_s": predicted_per_s,
                "measured_per_s": measured_per_s,
                "ape_percent": 100 * abs(predicted_per_s / measured_per_s - 1),
            }
        )
    return pd.DataFrame(rows, columns=list(TABLES["numa_against"].columns))


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
