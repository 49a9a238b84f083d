"""Measuring on a machine: forecasts made before, what was timed, the errors; named scenarios."""

from __future__ import annotations

from tilecast.tables.columns import DTYPE_NAMES, FAMILIES, MODES
from tilecast.tables.schema import Column, Table, amount, count, number, positive, size, text

OUTCOMES = ("measured", "out of memory", "failed")
EXECUTIONS = ("eager", "compiled")

KERNEL: dict[str, Column] = {
    "family": text("kernel family", values=FAMILIES),
    "op": text("operation (linear, bmm, add, addu, gelu, ln, rmsnorm, softmax, sdpa, embedding, conv)"),
    "dtype": text("number format", values=DTYPE_NAMES),
    "b": size("batch of a matrix product; rows of a vector kernel"),
    "m": size("rows of a matrix product; row length of a vector kernel"),
    "n": count("columns of a matrix product; 0 for a vector kernel"),
    "k": count("inner dimension of a matrix product; 0 for a vector kernel"),
    "shape": text("what b, m, n, k leave open: a convolution's sizes, a table's rows", empty="not recorded"),
}
KERNEL_KEY = tuple(KERNEL)
WORKLOAD: dict[str, Column] = {
    "model": text("model, as data/models names it"),
    "mode": text("what was run", values=MODES),
    "phase": text("prefill, decode (one token), or a training step", values=("prefill", "decode", "step")),
    "sequence_length": size("tokens per sequence"),
    "batch_size": size("sequences per step"),
    "context": count("tokens already cached"),
    "dtype": text("number format", values=DTYPE_NAMES),
    "attention": text("attention written out, or as one kernel", values=("eager", "fused")),
    "execution": text("as written, or through torch.compile", values=EXECUTIONS),
}
WORKLOAD_KEY = tuple(WORKLOAD)


def _milliseconds(meaning: str) -> Column:
    return positive(f"{meaning}, milliseconds; empty where nothing was timed", empty="not recorded")


TIMING: dict[str, Column] = {
    "latency_ms": _milliseconds("median, caches flushed before each repetition"),
    "low_ms": _milliseconds("5th percentile of the repetitions"),
    "high_ms": _milliseconds("95th percentile of the repetitions"),
    "repetitions": count("timed runs behind the median"),
    "outcome": text("measured, or why not", values=OUTCOMES),
    "reason": text("what the device said where nothing was timed", empty="not recorded"),
}
STATE: dict[str, Column] = {
    "clock_hz": positive("clock of the multiprocessors right after", empty="not recorded"),
    "power_w": amount("power drawn right after", empty="not recorded"),
    "temperature_c": number("temperature right after, degrees Celsius", empty="not recorded"),
}
FORECAST: dict[str, Column] = {
    "predictor": text("who forecast"),
    "predicted_ms": positive("forecast latency, milliseconds"),
    "predicted_low_ms": positive("low end of its 80 % interval", empty="not recorded"),
    "predicted_high_ms": positive("high end", empty="not recorded"),
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
        "kernels": amount("kernels launched, by the profiler", empty="not recorded"),
        "kernel_ms": amount("sum of their durations, milliseconds", empty="not recorded"),
        "memory_bytes": amount("peak of allocated memory", empty="not recorded"),
    }
    | STATE
)

MEASURED_KERNELS = Table(
    "measured_kernels",
    "measured kernels",
    KERNEL_KEY,
    **_MEASURED_KERNEL,
)

MEASURED_MODELS = Table(
    "measured_models",
    "measured models",
    WORKLOAD_KEY,
    **_MEASURED_MODEL,
)

MEASURED_TIMELINES = Table(
    "measured_timelines",
    "what one run of a measured model launched, in order",
    (*WORKLOAD_KEY, "place"),
    **WORKLOAD,
    place=count("number of the launch"),
    kernel_name=text("kernel, or operation on a CPU"),
    start_ms=amount("since the first launch"),
    duration_ms=amount("its duration"),
    grid=text("its grid", empty="not recorded"),
    block=text("its block", empty="not recorded"),
)

PLANNED_KERNELS = Table(
    "planned_kernels",
    "written before measuring",
    ("predictor", *KERNEL_KEY),
    rank=count("order to measure in: least sure first"),
    **KERNEL,
    **FORECAST,
)

PLANNED_MODELS = Table(
    "planned_models",
    "planned models",
    ("predictor", *WORKLOAD_KEY),
    **WORKLOAD,
    **FORECAST,
)

LIVE_KERNELS = Table(
    "live_kernels",
    "a forecast made before, and the measurement made after",
    (),
    where=WHERE,
    **RUN,
    **KERNEL,
    **FORECAST,
    measured_ms=positive("measured latency, milliseconds"),
    spread_percent=amount("5th to 95th percentile, of the median"),
    ape_percent=amount("absolute percentage error"),
)

LIVE_MODELS = Table(
    "live_models",
    "live models",
    (),
    where=WHERE,
    **RUN,
    **WORKLOAD,
    predictor=text("who forecast", empty="not recorded"),
    predicted_ms=positive("forecast made before", empty="not recorded"),
    measured_ms=positive("measured latency, milliseconds", empty="not recorded"),
    ape_percent=amount("absolute percentage error", empty="not recorded"),
    outcome=TIMING["outcome"],
    passport=_MEASURED_MODEL["passport"],
    reason=TIMING["reason"],
)

LIVE_SUMMARY = Table(
    "live_summary",
    "live summary",
    ("where", "device", "predictor", "family", "dtype"),
    where=WHERE,
    device=RUN["device"],
    predictor=text("who forecast"),
    family=text("kernel family, or all"),
    dtype=text("number format, or all"),
    n=size("kernels forecast before and measured after"),
    not_timed=count("kernels that ran out of memory or failed"),
    mape_percent=amount("mean absolute percentage error"),
    median_percent=amount("median absolute percentage error"),
    ratio=positive("geometric mean of forecast over measured"),
    inside_percent=amount("inside the claimed 80 % interval", empty="not recorded"),
)

LIVE_CALIBRATION = Table(
    "live_calibration",
    "live calibration",
    ("where", "device", "predictor", "n"),
    where=WHERE,
    device=RUN["device"],
    predictor=text("who forecast"),
    n=count("measured kernels the scales were fitted on"),
    tested=size("other kernels the error is over"),
    mape_percent=amount("mean absolute percentage error on those"),
    median_percent=amount("median absolute percentage error on those"),
    low_percent=amount("10th percentile of the mean error over draws"),
    high_percent=amount("90th percentile of the mean error over draws"),
)


def _known_ms(meaning: str) -> Column:
    return positive(f"{meaning}, milliseconds", empty="not recorded")


def _known_percent(meaning: str) -> Column:
    return amount(meaning, empty="not recorded")


SCENARIOS = Table(
    "scenarios",
    "scenarios",
    ("id",),
    id=text("name of the scenario"),
    title=text("what it is"),
    device=text("GPU"),
    layout=text("how it is divided among GPUs"),
    compute_ms=_known_ms("forecast without communication"),
    latency_ms=_known_ms("forecast with communication"),
    low_ms=_known_ms("low end of its 80 % interval"),
    high_ms=_known_ms("high end"),
    truth_low_ms=_known_ms("least measured by others"),
    truth_high_ms=_known_ms("most measured by others"),
    truth_source=text("who measured", empty="not recorded"),
    compute_ape_percent=_known_percent("error without communication, of the middle of what was measured"),
    ape_percent=_known_percent("error with it"),
    outcome=text("forecast, or failed", values=("forecast", "failed")),
    reason=text("why it failed", empty="not recorded"),
)

MEASURED = {"kernels": MEASURED_KERNELS, "models": MEASURED_MODELS, "timelines": MEASURED_TIMELINES}
PLANNED = {"kernels": PLANNED_KERNELS, "models": PLANNED_MODELS}
LIVE = {"kernels": LIVE_KERNELS, "models": LIVE_MODELS, "summary": LIVE_SUMMARY, "calibration": LIVE_CALIBRATION}
