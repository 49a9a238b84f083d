"""The tables of the locality studies: what is to be run, what was, what came of it, what was forecast."""

from __future__ import annotations

from tilecast.tables.schema import TABLES, Column, Table

STATUSES = ("ok", "failed", "timeout", "not testable here")
VERDICTS = (
    "slower from the remote node",
    "faster from the remote node",
    "no difference detected",
    "too few repetitions",
    "not testable here",
)
FACTORS = ("both", "memory", "cpu")
BOUNDS = ("h2d", "compute", "d2h", "launch")

CELL: dict[str, Column] = {
    "gpu": Column("integer", "GPU, as NVML numbers it", minimum=0),
    "cpu_node": Column("integer", "node the process ran on", minimum=0),
    "memory_node": Column("integer", "node its host buffers lay on", minimum=0),
    "model": Column("text", "vit{patch}x{depth}x{width}; vit0x0x0 does nothing"),
    "dtype": Column("text", "number format", values=("fp32", "bf16")),
    "compiled": Column("flag", "whether through torch.compile"),
}
_RUN: dict[str, Column] = {
    "study": Column("text", "study"),
    "position": Column("integer", "place in the order of execution", above=0),
    "run": Column("text", "name of the run"),
    "cell": Column("text", "name of the cell, which its profile is named by"),
    "repetition": Column("integer", "block: every cell once, in an order of its own", above=0),
}
_LENGTH: dict[str, Column] = {
    "batch_size": Column("integer", "samples a batch", above=0),
    "samples": Column("integer", "samples timed", above=0),
    "warmup": Column("integer", "samples before", minimum=0),
    "timeout_s": Column("integer", "longest a run may take, seconds", above=0),
}
OUTCOME: dict[str, Column] = {
    "status": Column("text", "what became of it", values=STATUSES),
    "reason": Column("text", "why it is not ok", nullable=True),
}


def _rate(meaning: str) -> Column:
    return Column("number", meaning, nullable=True, above=0)


def _share(meaning: str) -> Column:
    return Column("number", f"{meaning}, percent", nullable=True, minimum=0)


def _time(meaning: str) -> Column:
    return Column("number", f"{meaning}, milliseconds", nullable=True, minimum=0)


SOURCES: dict[str, Column] = {
    "copies_from": Column("text", "what the rates of copying are", values=("measured", "published", "assumed")),
    "compute_from": Column("text", "what the time to compute is", True, values=("predicted",)),
    "launch_from": Column("text", "what the time to issue is", values=("predicted", "assumed")),
}
PROFILE: dict[str, Column] = {
    "batch_size": Column("integer", "samples a batch", above=0),
    "span_ms": _time("first to last work on the device"),
    "kernels": Column("integer", "kernels", minimum=0),
    "kernel_ms": _time("sum of the kernels' times"),
    "kernel_busy_ms": _time("time during which a kernel ran"),
    "h2d_copies": Column("integer", "copies to the device", minimum=0),
    "h2d_bytes": Column("integer", "bytes of them", minimum=0),
    "h2d_p1_bytes_per_s": _rate("rate that 1 % of the copies to the device stay below"),
    "h2d_p50_bytes_per_s": _rate("median rate of the copies to the device"),
    "h2d_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "h2d_pinned_percent": _share("copies to the device that came from pinned memory"),
    "d2h_copies": Column("integer", "copies back", minimum=0),
    "d2h_bytes": Column("integer", "bytes of them", minimum=0),
    "d2h_p1_bytes_per_s": _rate("rate that 1 % of the copies back stay below"),
    "d2h_p50_bytes_per_s": _rate("median rate of the copies back"),
    "d2h_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "overlap_percent": _share("time of copying to the device during which a kernel ran too"),
    "gap_p50_ms": _time("median time between kernels during which none ran"),
    "gap_p99_ms": _time("what 99 % of these gaps stay below"),
    "launch_p50_ms": _time("median time from a kernel's launch to its start"),
    "busy_percent": _share("time during which the device copied or computed"),
    "batches": Column("integer", "batches found by their ranges", minimum=0),
    "batch_p50_ms": _time("median time of a batch, from its first copy in to its last copy out"),
    "batch_p99_ms": _time("what 99 % of the batches stay below"),
    "profiled_per_s": _rate("samples per second under the profiler, slower than without"),
}

TABLES.update(
    {
        "numa_manifest": Table(_RUN | CELL | _LENGTH, key=("study", "run")),
        "numa_counts": Table(
            {
                "study": Column("text", "study"),
                "place": Column("text", "where the guide gives a number", nullable=True),
                "claimed": Column("number", "runs it gives", nullable=True, above=0),
                "listed": Column("integer", "combinations its lists come to", above=0),
                "cells": Column("integer", "distinct ones", above=0),
                "rejected": Column("text", "cells listed more than once", nullable=True),
                "repetitions": Column("integer", "repetitions of each here", above=0),
                "runs": Column("integer", "runs that makes here", above=0),
            },
            key=("study", "place"),
        ),
        "numa_runs": Table(
            _RUN
            | CELL
            | {"batch_size": _LENGTH["batch_size"], "samples": _LENGTH["samples"]}
            | OUTCOME
            | {
                "device": Column("text", "cuda or cpu", nullable=True),
                "device_name": Column("text", "what it calls itself", nullable=True),
                "gpu_node": Column("integer", "node next to the GPU; -1 where unknown", minimum=-1),
                "samples_per_s": _rate("throughput from a synchronised wall clock, no profiler running"),
                "batch_ms": _time("time a batch, the same clock"),
                "binding": Column("text", "how CPU and memory were bound", nullable=True),
                "placement": Column("text", "pages of the host buffers by node", nullable=True),
                "verified": Column("text", "whether they lie where asked", values=("yes", "no", "unknown")),
                "load_average": Column("number", "of the machine, after the run", nullable=True, minimum=0),
                "output_copied": Column("text", "whether what came back is the model's output", nullable=True),
            },
            key=("study", "run"),
        ),
        "numa_comparison": Table(
            {
                "gpu": Column("text", "GPU, or all"),
                "remote_node": Column("text", "node compared with the GPU's own, or all"),
                "factor": Column("text", "what was moved there", values=FACTORS),
                "model": CELL["model"],
                "dtype": CELL["dtype"],
                "compiled": CELL["compiled"],
                "n": Column("integer", "pairs of runs, one of each block", minimum=0),
                "local_per_s": _rate("samples per second from the local node, geometric mean"),
                "remote_per_s": _rate("the same from the remote node"),
                "penalty_percent": Column("number", "how much longer a sample takes", nullable=True),
                "low_percent": Column("number", "low end of its 95 % interval", nullable=True),
                "high_percent": Column("number", "high end", nullable=True),
                "p_value": Column("number", "chance of such a ratio without a cause", nullable=True, minimum=0),
                "verdict": Column("text", "what it allows to conclude among all (Holm, 5 %)", values=VERDICTS),
                "reason": Column("text", "why nothing may", nullable=True),
            },
            key=("gpu", "remote_node", "factor", "model", "dtype", "compiled"),
        ),
        "numa_profiles": Table(
            {"cell": _RUN["cell"]}
            | CELL
            | {"profiler": Column("text", "who recorded", nullable=True)}
            | {name: Column("number", column.meaning, True, column.minimum, column.above)
               for name, column in PROFILE.items()}
            | OUTCOME,
            key=("cell",),
        ),
        "numa_timeline": Table(
            {
                "cell": _RUN["cell"],
                "batch": Column("integer", "batch", minimum=0),
                "stage": Column("text", "copy in, kernel, copy out", values=("h2d", "compute", "d2h")),
                "start_ms": Column("number", "from the first event drawn, milliseconds", minimum=0),
                "end_ms": Column("number", "milliseconds", minimum=0),
            }
        ),
        "numa_predicted": Table(
            {
                "host": Column("text", "host, as resources/published/numa_hosts.csv names it"),
                "gpu": Column("text", "device"),
                "model": CELL["model"],
                "dtype": CELL["dtype"],
                "batch_size": _LENGTH["batch_size"],
                **SOURCES,
                "flops_per_byte": Column("number", "FLOPs per byte copied either way", minimum=0),
                "compute_ms": Column("number", "forecast of the model, milliseconds", minimum=0),
                "launch_ms": Column("number", "time the host takes to issue a batch, milliseconds", above=0),
                "h2d_local_ms": Column("number", "copy in from the local node, milliseconds", above=0),
                "h2d_remote_ms": Column("number", "from the remote node, milliseconds", above=0),
                "d2h_local_ms": Column("number", "copy out to the local node, milliseconds", above=0),
                "d2h_remote_ms": Column("number", "to the remote node, milliseconds", above=0),
                "bound_local": Column("text", "slowest stage, local", values=BOUNDS),
                "bound_remote": Column("text", "slowest stage, remote", values=BOUNDS),
                "local_per_s": Column("number", "samples per second, local", above=0),
                "remote_per_s": Column("number", "samples per second, remote", above=0),
                "penalty_percent": Column("number", "how much longer a sample takes from the remote node"),
                "low_percent": Column("number", "the same where compute takes the high end of its interval"),
                "high_percent": Column("number", "the same where compute takes its low end"),
            },
            key=("host", "model", "dtype", "batch_size"),
        ),
        "numa_against": Table(  # the model of the pipeline held against what was measured
            {
                **{name: CELL[name] for name in ("gpu", "cpu_node", "memory_node", "model", "dtype")},
                "local": Column("flag", "whether both nodes are the one next to the GPU"),
                "h2d_ms": Column("number", "copy in, at the rate of the no-op from that node", above=0),
                "compute_ms": Column("number", "forecast of the model, milliseconds", minimum=0),
                "d2h_ms": Column("number", "copy out, likewise", above=0),
                "launch_ms": Column("number", "time the host takes to issue a batch, milliseconds", above=0),
                **SOURCES,
                "bound": Column("text", "slowest stage forecast", values=BOUNDS),
                "predicted_per_s": Column("number", "samples per second, forecast before the runs", above=0),
                "measured_per_s": Column("number", "median measured", above=0),
                "ape_percent": Column("number", "absolute percentage error", minimum=0),
                "predicted_penalty_percent": Column("number", "forecast: longer than from the local node", True),
                "measured_penalty_percent": Column("number", "measured: the same, of medians", True),
            },
            key=("gpu", "cpu_node", "memory_node", "model", "dtype"),
        ),
        "numa_hosts": Table(
            {
                "host": Column("text", "short name"),
                "title": Column("text", "the machine"),
                "gpu": Column("text", "device, as data/devices names it", nullable=True),
                "h2d_local_bytes_per_s": _rate("copy in from the local node"),
                "h2d_remote_bytes_per_s": _rate("copy in from the remote node"),
                "d2h_local_bytes_per_s": _rate("copy out to the local node"),
                "d2h_remote_bytes_per_s": _rate("copy out to the remote node"),
                "passport": Column("text", "what the rates are", values=("published", "assumed")),
                "source": Column("text", "where they come from"),
            },
            key=("host",),
        ),
        "numa_arithmetic": Table(
            {
                "quantity": Column("text", "short name"),
                "value": Column("number", "figure"),
                "unit": Column("text", "its unit"),
                "meaning": Column("text", "how it is computed from the guide's own figures"),
            },
            key=("quantity",),
        ),
    }
)  # fmt: skip
