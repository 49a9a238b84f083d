"""The locality studies: runs planned and made, what came of them, what was forecast."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tilecast.tables.columns import APE
from tilecast.tables.schema import Column, Table, amount, count, flag, integer, number, positive, prose, size, text

STATUSES = ("ok", "failed", "timeout", "not testable here")
VERDICTS = (
    "slower from the remote node",
    "faster from the remote node",
    "no difference detected",
    "too few repetitions",
    "not testable here",
)
FACTORS = ("both", "memory", "cpu")
_UNMEASURED = "not measured"
BOUNDS = ("h2d", "compute", "d2h", "launch")

CELL: dict[str, Column] = {
    "gpu": count("GPU, as NVML numbers it", title="GPU"),
    "cpu_node": count("node the process ran on", title="CPU node"),
    "memory_node": count("node its host buffers lay on"),
    "model": text("vit{patch}x{depth}x{width}; vit0x0x0 does nothing"),
    "dtype": text("number format", title="Format", values=("fp32", "bf16")),
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
    "reason": prose("why it is not ok", title="Why not", empty="it is"),
}


_rate = partial(positive, empty="not recorded")
_amount = partial(amount, empty="not recorded")
_words = partial(text, empty="not recorded")
_throughput = partial(positive, unit="samples/s", digits=0)
_time = partial(positive, digits=3)
SOURCES: dict[str, Column] = {
    "copies_from": text("what the rates of copying are", values=("measured", "published", "assumed")),
    "compute_from": text("what the time to compute is", empty="nothing to compute", values=("predicted",)),
    "launch_from": text("what the time to issue is", values=("predicted", "assumed")),
}
PROFILE: dict[str, Column] = {
    "batch_size": size("samples a batch"),
    "span_ms": _amount("first to last work on the device"),
    "kernels": count("kernels"),
    "kernel_ms": _amount("sum of the kernels' times"),
    "kernel_busy_ms": _amount("time during which a kernel ran"),
    "h2d_copies": count("copies to the device"),
    "h2d_bytes": count("bytes of them"),
    "h2d_p1_bytes_per_s": _rate("rate that 1 % of the copies to the device stay below"),
    "h2d_p50_bytes_per_s": _rate("median rate of the copies to the device"),
    "h2d_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "h2d_pinned_percent": _amount("copies to the device that came from pinned memory"),
    "d2h_copies": count("copies back"),
    "d2h_bytes": count("bytes of them"),
    "d2h_p1_bytes_per_s": _rate("rate that 1 % of the copies back stay below"),
    "d2h_p50_bytes_per_s": _rate("median rate of the copies back"),
    "d2h_p99_bytes_per_s": _rate("rate that 99 % of them stay below"),
    "overlap_percent": _amount("time of copying to the device during which a kernel ran too"),
    "gap_p50_ms": _amount("median time between kernels during which none ran"),
    "gap_p99_ms": _amount("what 99 % of these gaps stay below"),
    "launch_p50_ms": _amount("median time from a kernel's launch to its start"),
    "busy_percent": _amount("time during which the device copied or computed"),
    "batches": count("batches found by their ranges"),
    "batch_p50_ms": _amount("median time of a batch, from its first copy in to its last copy out"),
    "batch_p99_ms": _amount("what 99 % of the batches stay below"),
    "profiled_per_s": _rate("throughput under the profiler, slower than without", unit="samples/s"),
}

MANIFEST = Table(
    "numa_manifest",
    "runs planned, in the order to make them",
    ("study", "run"),
    **_RUN,
    **CELL,
    **_LENGTH,
)

COUNTS = Table(
    "numa_counts",
    "numbers of runs: the guide's, and what its lists come to",
    ("study", "place"),
    study=text("study"),
    place=text("where the guide gives a number", title="Where the guide says", empty="not in the guide"),
    claimed=positive("runs it gives", title="Guide", unit="runs", digits=0, empty="not in the guide"),
    listed=size("combinations its lists come to", title="Its lists", unit="cells"),
    cells=size("distinct ones", title="Distinct", unit="cells"),
    rejected=prose("cells listed more than once", title="Rejected: an earlier arm has it", empty="none"),
    repetitions=size("repetitions of each here"),
    runs=size("runs that makes here", title="Runs here"),
)

RUNS = Table(
    "numa_runs",
    "runs made, and what came of each",
    ("study", "run"),
    **_RUN,
    **CELL,
    batch_size=_LENGTH["batch_size"],
    samples=_LENGTH["samples"],
    **OUTCOME,
    device=_words("cuda or cpu"),
    device_name=_words("what it calls itself"),
    gpu_node=integer("node next to the GPU; -1 where unknown", minimum=-1),
    samples_per_s=_rate("throughput from a synchronised wall clock, no profiler running"),
    batch_ms=_amount("time a batch, the same clock"),
    binding=_words("how CPU and memory were bound"),
    placement=_words("pages of the host buffers by node", title="Pages of its buffers"),
    verified=text("whether they lie where asked", values=("yes", "no", "unknown")),
    load_average=_amount("of the machine, after the run"),
    output_copied=_words("whether what came back is the model's output"),
)

COMPARISON = Table(
    "numa_comparison",
    "throughput from the local node against the remote one",
    ("gpu", "remote_node", "factor", "model", "dtype", "compiled"),
    gpu=text("GPU, or all", title="GPU"),
    remote_node=text("node compared with the GPU's own, or all"),
    factor=text("what was moved there", title="Moved", values=FACTORS),
    model=CELL["model"],
    dtype=CELL["dtype"],
    compiled=CELL["compiled"],
    n=count("pairs of runs, one of each block", title="Pairs"),
    local_per_s=_throughput("from the local node, geometric mean", empty=_UNMEASURED),
    remote_per_s=_throughput("the same from the remote node", empty=_UNMEASURED),
    penalty_percent=number("how much longer a sample takes", empty=_UNMEASURED),
    low_percent=number("low end of its 95 % interval", empty=_UNMEASURED),
    high_percent=number("high end", empty=_UNMEASURED),
    p_value=amount("chance of such a ratio without a cause", empty=_UNMEASURED),
    verdict=text("what it allows to conclude among all (Holm, 5 %)", values=VERDICTS),
    reason=prose("why nothing may", title="Why", empty="–"),
)

PROFILES = Table(
    "numa_profiles",
    "measures of each cell's profile",
    ("cell",),
    cell=_RUN["cell"],
    **CELL,
    profiler=_words("who recorded"),
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
    "copies and kernels of a few batches",
    (),
    cell=_RUN["cell"],
    batch=count("batch"),
    stage=text("copy in, kernel, copy out", values=("h2d", "compute", "d2h")),
    start_ms=amount("from the first event drawn"),
    end_ms=amount("its end"),
)

PREDICTED = Table(
    "numa_predicted",
    "throughput forecast from the local and the remote node",
    ("host", "memory", "model", "dtype", "batch_size", "compiled"),
    host=text("host, as resources/published/numa_hosts.csv names it; open: little of it is stated"),
    gpu=text("device"),
    memory=text("of the host, that is copied from and to", values=("pinned", "pageable")),
    model=CELL["model"],
    dtype=CELL["dtype"],
    batch_size=_LENGTH["batch_size"],
    compiled=CELL["compiled"],
    **SOURCES,
    flops_per_byte=amount("FLOPs per byte copied either way", title="Intensity"),
    compute_ms=amount("forecast of the model", digits=3),
    launch_ms=_time("time the host takes to issue a batch"),
    h2d_local_ms=_time("copy in from the local node", title="Copy in, local"),
    h2d_remote_ms=_time("copy in from the remote node", title="Copy in, remote"),
    d2h_local_ms=_time("copy out to the local node", title="Copy out, local"),
    d2h_remote_ms=_time("copy out to the remote node", title="Copy out, remote"),
    bound_local=text("slowest stage, local", title="Slowest, local", values=BOUNDS),
    bound_remote=text("slowest stage, remote", title="Slowest, remote", values=BOUNDS),
    local_per_s=_throughput("from the local node"),
    remote_per_s=_throughput("from the remote node"),
    penalty_percent=number("how much longer a sample takes from the remote node"),
    low_percent=number("its least, over the forecast's interval and what the host leaves open", title="Least"),
    high_percent=number("its most, likewise", title="Most"),
)

AGAINST = Table(
    "numa_against",
    "the model of the pipeline held against what was measured",
    tuple(CELL),
    **CELL,
    local=flag("whether both nodes are the one next to the GPU"),
    h2d_ms=positive("copy in, at the rate of the no-op from that node"),
    compute_ms=amount("forecast of the model", digits=3),
    d2h_ms=positive("copy out, likewise"),
    launch_ms=_time("time the host takes to issue a batch"),
    **SOURCES,
    bound=text("slowest stage forecast", title="Slowest stage", values=BOUNDS),
    predicted_per_s=_throughput("forecast before the runs", title="Forecast"),
    measured_per_s=_throughput("median measured"),
    ape_percent=APE,
    predicted_penalty_percent=number(
        "forecast: longer than from the local node", title="Penalty forecast", empty="local"
    ),
    measured_penalty_percent=number("measured: the same, of medians", title="Penalty measured", empty="local"),
)

HOSTS = Table(
    "numa_hosts",
    "rates of copying on described hosts",
    ("host",),
    host=text("short name"),
    title=text("the machine"),
    gpu=_words("device, as data/devices names it"),
    h2d_local_bytes_per_s=_rate("copy in from the local node"),
    h2d_remote_bytes_per_s=_rate("copy in from the remote node"),
    d2h_local_bytes_per_s=_rate("copy out to the local node"),
    d2h_remote_bytes_per_s=_rate("copy out to the remote node"),
    passport=text("what the rates are", values=("published", "assumed")),
    source=text("where they come from"),
)

LIMITS = Table(
    "numa_limits",
    "limits of copying on a host of which little is stated",
    ("quantity",),
    quantity=text("short name"),
    low=amount("least that is published or possible"),
    high=positive("most"),
    unit=_words("its unit"),
    meaning=text("what is limited"),
    source=text("where both ends come from"),
)

ARITHMETIC = Table(
    "numa_arithmetic",
    "arithmetic of the guide's own figures",
    ("quantity",),
    quantity=text("short name"),
    value=number("figure"),
    unit=text("its unit"),
    meaning=text("how it is computed from the guide's own figures"),
)

RECORD = {table.name.removeprefix("numa_"): table for table in (RUNS, COMPARISON, AGAINST, PROFILES, TIMELINE)}
