"""The locality studies: runs planned and made, what came of them, what was forecast."""

from __future__ import annotations

from dataclasses import replace

from tilecast.tables.schema import Column, Table, amount, count, flag, integer, number, positive, size, text

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
    "gpu": count("GPU, as NVML numbers it"),
    "cpu_node": count("node the process ran on"),
    "memory_node": count("node its host buffers lay on"),
    "model": text("vit{patch}x{depth}x{width}; vit0x0x0 does nothing"),
    "dtype": text("number format", values=("fp32", "bf16")),
    "compiled": flag("whether through torch.compile"),
}
_RUN: dict[str, Column] = {
    "study": text("study"),
    "position": size("place in the order of execution"),
    "run": text("name of the run"),
    "cell": text("name of the cell, which its profile is named by"),
    "repetition": size("block: every cell once, in an order of its own"),
}
_LENGTH: dict[str, Column] = {
    "batch_size": size("samples a batch"),
    "samples": size("samples timed"),
    "warmup": count("samples before"),
    "timeout_s": size("longest a run may take, seconds"),
}
OUTCOME: dict[str, Column] = {
    "status": text("what became of it", values=STATUSES),
    "reason": text("why it is not ok", empty="not recorded"),
}


def _rate(meaning: str) -> Column:
    return positive(meaning, empty="not recorded")


def _share(meaning: str) -> Column:
    return amount(f"{meaning}, percent", empty="not recorded")


def _time(meaning: str) -> Column:
    return amount(f"{meaning}, milliseconds", empty="not recorded")


SOURCES: dict[str, Column] = {
    "copies_from": text("what the rates of copying are", values=("measured", "published", "assumed")),
    "compute_from": text("what the time to compute is", empty="nothing to compute", values=("predicted",)),
    "launch_from": text("what the time to issue is", values=("predicted", "assumed")),
}
PROFILE: dict[str, Column] = {
    "batch_size": size("samples a batch"),
    "span_ms": _time("first to last work on the device"),
    "kernels": count("kernels"),
    "kernel_ms": _time("sum of the kernels' times"),
    "kernel_busy_ms": _time("time during which a kernel ran"),
    "h2d_copies": count("copies to the device"),
    "h2d_bytes": count("bytes of them"),
    "h2d_p1_bytes_per_s": _rate("rate that 1 % of the copies to the device stay below"),
    "h2d_p50_bytes_per_s": _rate("median rate of the copies to the device"),
    "h2d_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "h2d_pinned_percent": _share("copies to the device that came from pinned memory"),
    "d2h_copies": count("copies back"),
    "d2h_bytes": count("bytes of them"),
    "d2h_p1_bytes_per_s": _rate("rate that 1 % of the copies back stay below"),
    "d2h_p50_bytes_per_s": _rate("median rate of the copies back"),
    "d2h_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "overlap_percent": _share("time of copying to the device during which a kernel ran too"),
    "gap_p50_ms": _time("median time between kernels during which none ran"),
    "gap_p99_ms": _time("what 99 % of these gaps stay below"),
    "launch_p50_ms": _time("median time from a kernel's launch to its start"),
    "busy_percent": _share("time during which the device copied or computed"),
    "batches": count("batches found by their ranges"),
    "batch_p50_ms": _time("median time of a batch, from its first copy in to its last copy out"),
    "batch_p99_ms": _time("what 99 % of the batches stay below"),
    "profiled_per_s": _rate("samples per second under the profiler, slower than without"),
}

MANIFEST = Table(
    "numa_manifest",
    "numa manifest",
    ("study", "run"),
    **_RUN,
    **CELL,
    **_LENGTH,
)

COUNTS = Table(
    "numa_counts",
    "numa counts",
    ("study", "place"),
    study=text("study"),
    place=text("where the guide gives a number", empty="not recorded"),
    claimed=positive("runs it gives", empty="not recorded"),
    listed=size("combinations its lists come to"),
    cells=size("distinct ones"),
    rejected=text("cells listed more than once", empty="not recorded"),
    repetitions=size("repetitions of each here"),
    runs=size("runs that makes here"),
)

RUNS = Table(
    "numa_runs",
    "numa runs",
    ("study", "run"),
    **_RUN,
    **CELL,
    batch_size=_LENGTH["batch_size"],
    samples=_LENGTH["samples"],
    **OUTCOME,
    device=text("cuda or cpu", empty="not recorded"),
    device_name=text("what it calls itself", empty="not recorded"),
    gpu_node=integer("node next to the GPU; -1 where unknown", minimum=-1),
    samples_per_s=_rate("throughput from a synchronised wall clock, no profiler running"),
    batch_ms=_time("time a batch, the same clock"),
    binding=text("how CPU and memory were bound", empty="not recorded"),
    placement=text("pages of the host buffers by node", empty="not recorded"),
    verified=text("whether they lie where asked", values=("yes", "no", "unknown")),
    load_average=amount("of the machine, after the run", empty="not recorded"),
    output_copied=text("whether what came back is the model's output", empty="not recorded"),
)

COMPARISON = Table(
    "numa_comparison",
    "numa comparison",
    ("gpu", "remote_node", "factor", "model", "dtype", "compiled"),
    gpu=text("GPU, or all"),
    remote_node=text("node compared with the GPU's own, or all"),
    factor=text("what was moved there", values=FACTORS),
    model=CELL["model"],
    dtype=CELL["dtype"],
    compiled=CELL["compiled"],
    n=count("pairs of runs, one of each block"),
    local_per_s=_rate("samples per second from the local node, geometric mean"),
    remote_per_s=_rate("the same from the remote node"),
    penalty_percent=number("how much longer a sample takes", empty="not recorded"),
    low_percent=number("low end of its 95 % interval", empty="not recorded"),
    high_percent=number("high end", empty="not recorded"),
    p_value=amount("chance of such a ratio without a cause", empty="not recorded"),
    verdict=text("what it allows to conclude among all (Holm, 5 %)", values=VERDICTS),
    reason=text("why nothing may", empty="not recorded"),
)

PROFILES = Table(
    "numa_profiles",
    "numa profiles",
    ("cell",),
    cell=_RUN["cell"],
    **CELL,
    profiler=text("who recorded", empty="not recorded"),
    **{name: replace(column, kind="number", empty="not recorded") for name, column in PROFILE.items()},
    **OUTCOME,
)

ANALYSIS = Table(
    "analysis",
    "profiles analysed by the command line; a profile whose name is not a cell's has no cell",
    ("cell",),
    **{name: replace(column, empty="no cell") for name, column in PROFILES.columns.items()}
    | {"cell": _RUN["cell"], "status": OUTCOME["status"]},
)

TIMELINE = Table(
    "numa_timeline",
    "numa timeline",
    (),
    cell=_RUN["cell"],
    batch=count("batch"),
    stage=text("copy in, kernel, copy out", values=("h2d", "compute", "d2h")),
    start_ms=amount("from the first event drawn, milliseconds"),
    end_ms=amount("milliseconds"),
)

PREDICTED = Table(
    "numa_predicted",
    "numa predicted",
    ("host", "model", "dtype", "batch_size"),
    host=text("host, as resources/published/numa_hosts.csv names it"),
    gpu=text("device"),
    model=CELL["model"],
    dtype=CELL["dtype"],
    batch_size=_LENGTH["batch_size"],
    **SOURCES,
    flops_per_byte=amount("FLOPs per byte copied either way"),
    compute_ms=amount("forecast of the model, milliseconds"),
    launch_ms=positive("time the host takes to issue a batch, milliseconds"),
    h2d_local_ms=positive("copy in from the local node, milliseconds"),
    h2d_remote_ms=positive("from the remote node, milliseconds"),
    d2h_local_ms=positive("copy out to the local node, milliseconds"),
    d2h_remote_ms=positive("to the remote node, milliseconds"),
    bound_local=text("slowest stage, local", values=BOUNDS),
    bound_remote=text("slowest stage, remote", values=BOUNDS),
    local_per_s=positive("samples per second, local"),
    remote_per_s=positive("samples per second, remote"),
    penalty_percent=number("how much longer a sample takes from the remote node"),
    low_percent=number("the same where compute takes the high end of its interval"),
    high_percent=number("the same where compute takes its low end"),
)

AGAINST = Table(
    "numa_against",
    "the model of the pipeline held against what was measured",
    ("gpu", "cpu_node", "memory_node", "model", "dtype"),
    **{name: CELL[name] for name in ("gpu", "cpu_node", "memory_node", "model", "dtype")},
    local=flag("whether both nodes are the one next to the GPU"),
    h2d_ms=positive("copy in, at the rate of the no-op from that node"),
    compute_ms=amount("forecast of the model, milliseconds"),
    d2h_ms=positive("copy out, likewise"),
    launch_ms=positive("time the host takes to issue a batch, milliseconds"),
    **SOURCES,
    bound=text("slowest stage forecast", values=BOUNDS),
    predicted_per_s=positive("samples per second, forecast before the runs"),
    measured_per_s=positive("median measured"),
    ape_percent=amount("absolute percentage error"),
    predicted_penalty_percent=number("forecast: longer than from the local node", empty="local"),
    measured_penalty_percent=number("measured: the same, of medians", empty="local"),
)

HOSTS = Table(
    "numa_hosts",
    "numa hosts",
    ("host",),
    host=text("short name"),
    title=text("the machine"),
    gpu=text("device, as data/devices names it", empty="not recorded"),
    h2d_local_bytes_per_s=_rate("copy in from the local node"),
    h2d_remote_bytes_per_s=_rate("copy in from the remote node"),
    d2h_local_bytes_per_s=_rate("copy out to the local node"),
    d2h_remote_bytes_per_s=_rate("copy out to the remote node"),
    passport=text("what the rates are", values=("published", "assumed")),
    source=text("where they come from"),
)

ARITHMETIC = Table(
    "numa_arithmetic",
    "numa arithmetic",
    ("quantity",),
    quantity=text("short name"),
    value=number("figure"),
    unit=text("its unit"),
    meaning=text("how it is computed from the guide's own figures"),
)

RECORD = {table.name.removeprefix("numa_"): table for table in (RUNS, COMPARISON, AGAINST, PROFILES, TIMELINE)}
