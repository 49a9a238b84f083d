"""Measuring on a machine: forecasts made before, what was timed, the errors; named scenarios."""

from __future__ import annotations

from tilecast.tables.columns import DTYPE_NAMES, FAMILIES, MODES
from tilecast.tables.schema import Column, Table, integer, number, text

OUTCOMES = ("measured", "out of memory", "failed")
EXECUTIONS = ("eager", "compiled")

KERNEL: dict[str, Column] = {
    "family": text("kernel family", values=FAMILIES),
    "op": text("operation (linear, bmm, add, addu, gelu, ln, rmsnorm, softmax, sdpa, embedding, conv)"),
    "dtype": text("number format", values=DTYPE_NAMES),
    "b": integer("batch of a matrix product; rows of a vector kernel", above=0),
    "m": integer("rows of a matrix product; row length of a vector kernel", above=0),
    "n": integer("columns of a matrix product; 0 for a vector kernel", minimum=0),
    "k": integer("inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
    "shape": text("what b, m, n, k leave open: a convolution's sizes, a table's rows", empty="not recorded"),
}
KERNEL_KEY = tuple(KERNEL)
WORKLOAD: dict[str, Column] = {
    "model": text("model, as data/models names it"),
    "mode": text("what was run", values=MODES),
    "phase": text("prefill, decode (one token), or a training step", values=("prefill", "decode", "step")),
    "sequence_length": integer("tokens per sequence", above=0),
    "batch_size": integer("sequences per step", above=0),
    "context": integer("tokens already cached", minimum=0),
    "dtype": text("number format", values=DTYPE_NAMES),
    "attention": text("attention written out, or as one kernel", values=("eager", "fused")),
    "execution": text("as written, or through torch.compile", values=EXECUTIONS),
}
WORKLOAD_KEY = tuple(WORKLOAD)


def _milliseconds(meaning: str) -> Column:
    return number(f"{meaning}, milliseconds; empty where nothing was timed", empty="not recorded", above=0)


TIMING: dict[str, Column] = {
    "latency_ms": _milliseconds("median, caches flushed before each repetition"),
    "low_ms": _milliseconds("5th percentile of the repetitions"),
    "high_ms": _milliseconds("95th percentile of the repetitions"),
    "repetitions": integer("timed runs behind the median", minimum=0),
    "outcome": text("measured, or why not", values=OUTCOMES),
    "reason": text("what the device said where nothing was timed", empty="not recorded"),
}
STATE: dict[str, Column] = {
    "clock_hz": number("clock of the multiprocessors right after", empty="not recorded", above=0),
    "power_w": number("power drawn right after", empty="not recorded", minimum=0),
    "temperature_c": number("temperature right after, degrees Celsius", empty="not recorded"),
}
FORECAST: dict[str, Column] = {
    "predictor": text("who forecast"),
    "predicted_ms": number("forecast latency, milliseconds", above=0),
    "predicted_low_ms": number("low end of its 80 % interval", empty="not recorded", above=0),
    "predicted_high_ms": number("high end", empty="not recorded", above=0),
}
RUN: dict[str, Column] = {
    "device": text("folder of the measurements: the device, and how much of it was used"),
    "run": text("file of the run, without its ending"),
}
WHERE = text("measured on this machine, or taken from the repository", values=("live", "replayed"))

_MEASURED_KERNEL = (
    KERNEL
    | TIMING
    | {
        "warm_ms": _milliseconds("median, caches as the last run left them"),
        "kernel_name": text("the kernel that ran longest, by the profiler", empty="not recorded"),
        "grid": text("its grid", empty="not recorded"),
        "block": text("its block", empty="not recorded"),
    }
    | STATE
)
_MEASURED_MODEL = (
    WORKLOAD
    | TIMING
    | {
        "passport": text("timed whole, or composed of layers", values=("measured", "composed")),
        "layers_timed": text("layers of the shortened models a composed figure comes from", empty="not recorded"),
        "forward_ms": _milliseconds("forward pass of a training step"),
        "backward_ms": _milliseconds("the rest of a training step"),
        "kernels": number("kernels launched, by the profiler", empty="not recorded", minimum=0),
        "kernel_ms": number("sum of their durations, milliseconds", empty="not recorded", minimum=0),
        "memory_bytes": number("peak of allocated memory", empty="not recorded", minimum=0),
    }
    | STATE
)

MEASURED_KERNELS = Table("measured_kernels", _MEASURED_KERNEL, key=KERNEL_KEY)

MEASURED_MODELS = Table("measured_models", _MEASURED_MODEL, key=WORKLOAD_KEY)

# what one run of a measured model launched, in order
MEASURED_TIMELINES = Table(
    "measured_timelines",
    WORKLOAD
    | {
        "place": integer("number of the launch", minimum=0),
        "kernel_name": text("kernel, or operation on a CPU"),
        "start_ms": number("since the first launch", minimum=0),
        "duration_ms": number("its duration", minimum=0),
        "grid": text("its grid", empty="not recorded"),
        "block": text("its block", empty="not recorded"),
    },
    key=(*WORKLOAD_KEY, "place"),
)

# written before measuring
PLANNED_KERNELS = Table(
    "planned_kernels",
    {"rank": integer("order to measure in: least sure first", minimum=0)} | KERNEL | FORECAST,
    key=("predictor", *KERNEL_KEY),
)

PLANNED_MODELS = Table("planned_models", WORKLOAD | FORECAST, key=("predictor", *WORKLOAD_KEY))

# a forecast made before, and the measurement made after
LIVE_KERNELS = Table(
    "live_kernels",
    {"where": WHERE}
    | RUN
    | KERNEL
    | FORECAST
    | {
        "measured_ms": number("measured latency, milliseconds", above=0),
        "spread_percent": number("5th to 95th percentile, of the median", minimum=0),
        "ape_percent": number("absolute percentage error", minimum=0),
    },
)

LIVE_MODELS = Table(
    "live_models",
    {"where": WHERE}
    | RUN
    | WORKLOAD
    | {
        "predictor": text("who forecast", empty="not recorded"),
        "predicted_ms": number("forecast made before", empty="not recorded", above=0),
        "measured_ms": number("measured latency, milliseconds", empty="not recorded", above=0),
        "ape_percent": number("absolute percentage error", empty="not recorded", minimum=0),
        "outcome": TIMING["outcome"],
        "passport": _MEASURED_MODEL["passport"],
        "reason": TIMING["reason"],
    },
)

LIVE_SUMMARY = Table(
    "live_summary",
    {
        "where": WHERE,
        "device": RUN["device"],
        "predictor": text("who forecast"),
        "family": text("kernel family, or all"),
        "dtype": text("number format, or all"),
        "n": integer("kernels forecast before and measured after", above=0),
        "not_timed": integer("kernels that ran out of memory or failed", minimum=0),
        "mape_percent": number("mean absolute percentage error", minimum=0),
        "median_percent": number("median absolute percentage error", minimum=0),
        "ratio": number("geometric mean of forecast over measured", above=0),
        "inside_percent": number("inside the claimed 80 % interval", empty="not recorded", minimum=0),
    },
    key=("where", "device", "predictor", "family", "dtype"),
)

LIVE_CALIBRATION = Table(
    "live_calibration",
    {
        "where": WHERE,
        "device": RUN["device"],
        "predictor": text("who forecast"),
        "n": integer("measured kernels the scales were fitted on", minimum=0),
        "tested": integer("other kernels the error is over", above=0),
        "mape_percent": number("mean absolute percentage error on those", minimum=0),
        "median_percent": number("median absolute percentage error on those", minimum=0),
        "low_percent": number("10th percentile of the mean error over draws", minimum=0),
        "high_percent": number("90th percentile of the mean error over draws", minimum=0),
    },
    key=("where", "device", "predictor", "n"),
)


def _known_ms(meaning: str) -> Column:
    return number(f"{meaning}, milliseconds", empty="not recorded", above=0)


def _known_percent(meaning: str) -> Column:
    return number(meaning, empty="not recorded", minimum=0)


SCENARIOS = Table(
    "scenarios",
    {
        "id": text("name of the scenario"),
        "title": text("what it is"),
        "device": text("GPU"),
        "layout": text("how it is divided among GPUs"),
        "compute_ms": _known_ms("forecast without communication"),
        "latency_ms": _known_ms("forecast with communication"),
        "low_ms": _known_ms("low end of its 80 % interval"),
        "high_ms": _known_ms("high end"),
        "truth_low_ms": _known_ms("least measured by others"),
        "truth_high_ms": _known_ms("most measured by others"),
        "truth_source": text("who measured", empty="not recorded"),
        "compute_ape_percent": _known_percent("error without communication, of the middle of what was measured"),
        "ape_percent": _known_percent("error with it"),
        "outcome": text("forecast, or failed", values=("forecast", "failed")),
        "reason": text("why it failed", empty="not recorded"),
    },
    key=("id",),
)

MEASURED = {"kernels": MEASURED_KERNELS, "models": MEASURED_MODELS, "timelines": MEASURED_TIMELINES}
PLANNED = {"kernels": PLANNED_KERNELS, "models": PLANNED_MODELS}
LIVE = {"kernels": LIVE_KERNELS, "models": LIVE_MODELS, "summary": LIVE_SUMMARY, "calibration": LIVE_CALIBRATION}
