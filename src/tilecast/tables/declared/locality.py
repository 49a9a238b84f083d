"""The locality studies: runs planned and made, what came of them, what was forecast."""

from __future__ import annotations

from dataclasses import replace

from tilecast.tables.schema import Column, Table, flag, integer, number, text

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
    "gpu": integer("GPU, as NVML numbers it", minimum=0),
    "cpu_node": integer("node the process ran on", minimum=0),
    "memory_node": integer("node its host buffers lay on", minimum=0),
    "model": text("vit{patch}x{depth}x{width}; vit0x0x0 does nothing"),
    "dtype": text("number format", values=("fp32", "bf16")),
    "compiled": flag("whether through torch.compile"),
}
_RUN: dict[str, Column] = {
    "study": text("study"),
    "position": integer("place in the order of execution", above=0),
    "run": text("name of the run"),
    "cell": text("name of the cell, which its profile is named by"),
    "repetition": integer("block: every cell once, in an order of its own", above=0),
}
_LENGTH: dict[str, Column] = {
    "batch_size": integer("samples a batch", above=0),
    "samples": integer("samples timed", above=0),
    "warmup": integer("samples before", minimum=0),
    "timeout_s": integer("longest a run may take, seconds", above=0),
}
OUTCOME: dict[str, Column] = {
    "status": text("what became of it", values=STATUSES),
    "reason": text("why it is not ok", empty="not recorded"),
}


def _rate(meaning: str) -> Column:
    return number(meaning, empty="not recorded", above=0)


def _share(meaning: str) -> Column:
    return number(f"{meaning}, percent", empty="not recorded", minimum=0)


def _time(meaning: str) -> Column:
    return number(f"{meaning}, milliseconds", empty="not recorded", minimum=0)


SOURCES: dict[str, Column] = {
    "copies_from": text("what the rates of copying are", values=("measured", "published", "assumed")),
    "compute_from": text("what the time to compute is", empty="nothing to compute", values=("predicted",)),
    "launch_from": text("what the time to issue is", values=("predicted", "assumed")),
}
PROFILE: dict[str, Column] = {
    "batch_size": integer("samples a batch", above=0),
    "span_ms": _time("first to last work on the device"),
    "kernels": integer("kernels", minimum=0),
    "kernel_ms": _time("sum of the kernels' times"),
    "kernel_busy_ms": _time("time during which a kernel ran"),
    "h2d_copies": integer("copies to the device", minimum=0),
    "h2d_bytes": integer("bytes of them", minimum=0),
    "h2d_p1_bytes_per_s": _rate("rate that 1 % of the copies to the device stay below"),
    "h2d_p50_bytes_per_s": _rate("median rate of the copies to the device"),
    "h2d_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "h2d_pinned_percent": _share("copies to the device that came from pinned memory"),
    "d2h_copies": integer("copies back", minimum=0),
    "d2h_bytes": integer("bytes of them", minimum=0),
    "d2h_p1_bytes_per_s": _rate("rate that 1 % of the copies back stay below"),
    "d2h_p50_bytes_per_s": _rate("median rate of the copies back"),
    "d2h_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "overlap_percent": _share("time of copying to the device during which a kernel ran too"),
    "gap_p50_ms": _time("median time between kernels during which none ran"),
    "gap_p99_ms": _time("what 99 % of these gaps stay below"),
    "launch_p50_ms": _time("median time from a kernel's launch to its start"),
    "busy_percent": _share("time during which the device copied or computed"),
    "batches": integer("batches found by their ranges", minimum=0),
    "batch_p50_ms": _time("median time of a batch, from its first copy in to its last copy out"),
    "batch_p99_ms": _time("what 99 % of the batches stay below"),
    "profiled_per_s": _rate("samples per second under the profiler, slower than without"),
}

MANIFEST = Table("numa_manifest", _RUN | CELL | _LENGTH, key=("study", "run"))

COUNTS = Table(
    "numa_counts",
    {
        "study": text("study"),
        "place": text("where the guide gives a number", empty="not recorded"),
        "claimed": number("runs it gives", empty="not recorded", above=0),
        "listed": integer("combinations its lists come to", above=0),
        "cells": integer("distinct ones", above=0),
        "rejected": text("cells listed more than once", empty="not recorded"),
        "repetitions": integer("repetitions of each here", above=0),
        "runs": integer("runs that makes here", above=0),
    },
    key=("study", "place"),
)

RUNS = Table(
    "numa_runs",
    _RUN
    | CELL
    | {"batch_size": _LENGTH["batch_size"], "samples": _LENGTH["samples"]}
    | OUTCOME
    | {
        "device": text("cuda or cpu", empty="not recorded"),
        "device_name": text("what it calls itself", empty="not recorded"),
        "gpu_node": integer("node next to the GPU; -1 where unknown", minimum=-1),
        "samples_per_s": _rate("throughput from a synchronised wall clock, no profiler running"),
        "batch_ms": _time("time a batch, the same clock"),
        "binding": text("how CPU and memory were bound", empty="not recorded"),
        "placement": text("pages of the host buffers by node", empty="not recorded"),
        "verified": text("whether they lie where asked", values=("yes", "no", "unknown")),
        "load_average": number("of the machine, after the run", empty="not recorded", minimum=0),
        "output_copied": text("whether what came back is the model's output", empty="not recorded"),
    },
    key=("study", "run"),
)

COMPARISON = Table(
    "numa_comparison",
    {
        "gpu": text("GPU, or all"),
        "remote_node": text("node compared with the GPU's own, or all"),
        "factor": text("what was moved there", values=FACTORS),
        "model": CELL["model"],
        "dtype": CELL["dtype"],
        "compiled": CELL["compiled"],
        "n": integer("pairs of runs, one of each block", minimum=0),
        "local_per_s": _rate("samples per second from the local node, geometric mean"),
        "remote_per_s": _rate("the same from the remote node"),
        "penalty_percent": number("how much longer a sample takes", empty="not recorded"),
        "low_percent": number("low end of its 95 % interval", empty="not recorded"),
        "high_percent": number("high end", empty="not recorded"),
        "p_value": number("chance of such a ratio without a cause", empty="not recorded", minimum=0),
        "verdict": text("what it allows to conclude among all (Holm, 5 %)", values=VERDICTS),
        "reason": text("why nothing may", empty="not recorded"),
    },
    key=("gpu", "remote_node", "factor", "model", "dtype", "compiled"),
)

PROFILES = Table(
    "numa_profiles",
    {"cell": _RUN["cell"]}
    | CELL
    | {"profiler": text("who recorded", empty="not recorded")}
    | {name: replace(column, kind="number", empty="not recorded") for name, column in PROFILE.items()}
    | OUTCOME,
    key=("cell",),
)

TIMELINE = Table(
    "numa_timeline",
    {
        "cell": _RUN["cell"],
        "batch": integer("batch", minimum=0),
        "stage": text("copy in, kernel, copy out", values=("h2d", "compute", "d2h")),
        "start_ms": number("from the first event drawn, milliseconds", minimum=0),
        "end_ms": number("milliseconds", minimum=0),
    },
)

PREDICTED = Table(
    "numa_predicted",
    {
        "host": text("host, as resources/published/numa_hosts.csv names it"),
        "gpu": text("device"),
        "model": CELL["model"],
        "dtype": CELL["dtype"],
        "batch_size": _LENGTH["batch_size"],
        **SOURCES,
        "flops_per_byte": number("FLOPs per byte copied either way", minimum=0),
        "compute_ms": number("forecast of the model, milliseconds", minimum=0),
        "launch_ms": number("time the host takes to issue a batch, milliseconds", above=0),
        "h2d_local_ms": number("copy in from the local node, milliseconds", above=0),
        "h2d_remote_ms": number("from the remote node, milliseconds", above=0),
        "d2h_local_ms": number("copy out to the local node, milliseconds", above=0),
        "d2h_remote_ms": number("to the remote node, milliseconds", above=0),
        "bound_local": text("slowest stage, local", values=BOUNDS),
        "bound_remote": text("slowest stage, remote", values=BOUNDS),
        "local_per_s": number("samples per second, local", above=0),
        "remote_per_s": number("samples per second, remote", above=0),
        "penalty_percent": number("how much longer a sample takes from the remote node"),
        "low_percent": number("the same where compute takes the high end of its interval"),
        "high_percent": number("the same where compute takes its low end"),
    },
    key=("host", "model", "dtype", "batch_size"),
)

# the model of the pipeline held against what was measured
AGAINST = Table(
    "numa_against",
    {
        **{name: CELL[name] for name in ("gpu", "cpu_node", "memory_node", "model", "dtype")},
        "local": flag("whether both nodes are the one next to the GPU"),
        "h2d_ms": number("copy in, at the rate of the no-op from that node", above=0),
        "compute_ms": number("forecast of the model, milliseconds", minimum=0),
        "d2h_ms": number("copy out, likewise", above=0),
        "launch_ms": number("time the host takes to issue a batch, milliseconds", above=0),
        **SOURCES,
        "bound": text("slowest stage forecast", values=BOUNDS),
        "predicted_per_s": number("samples per second, forecast before the runs", above=0),
        "measured_per_s": number("median measured", above=0),
        "ape_percent": number("absolute percentage error", minimum=0),
        "predicted_penalty_percent": number("forecast: longer than from the local node", empty="local"),
        "measured_penalty_percent": number("measured: the same, of medians", empty="local"),
    },
    key=("gpu", "cpu_node", "memory_node", "model", "dtype"),
)

HOSTS = Table(
    "numa_hosts",
    {
        "host": text("short name"),
        "title": text("the machine"),
        "gpu": text("device, as data/devices names it", empty="not recorded"),
        "h2d_local_bytes_per_s": _rate("copy in from the local node"),
        "h2d_remote_bytes_per_s": _rate("copy in from the remote node"),
        "d2h_local_bytes_per_s": _rate("copy out to the local node"),
        "d2h_remote_bytes_per_s": _rate("copy out to the remote node"),
        "passport": text("what the rates are", values=("published", "assumed")),
        "source": text("where they come from"),
    },
    key=("host",),
)

ARITHMETIC = Table(
    "numa_arithmetic",
    {
        "quantity": text("short name"),
        "value": number("figure"),
        "unit": text("its unit"),
        "meaning": text("how it is computed from the guide's own figures"),
    },
    key=("quantity",),
)

RECORD = {table.name.removeprefix("numa_"): table for table in (RUNS, COMPARISON, AGAINST, PROFILES, TIMELINE)}
