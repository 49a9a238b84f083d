"""Measuring on a machine: forecasts made before, what was timed, the errors; named scenarios."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tilecast.tables.columns import (
    APE,
    DTYPE,
    DTYPE_NAMES,
    FAMILY,
    HIGH,
    LOW,
    MAPE_PERCENT,
    MEDIAN_PERCENT,
    MODES,
    PREDICTOR,
)
from tilecast.tables.columns import MEASURED as MEASURED_MS
from tilecast.tables.schema import Column, Table, amount, count, number, positive, prose, size, text

OUTCOMES = ("measured", "out of memory", "failed")
EXECUTIONS = ("eager", "compiled", "graphs")

KERNEL: dict[str, Column] = {
    "family": FAMILY,
    "op": text("operation (linear, bmm, add, addu, gelu, ln, rmsnorm, softmax, sdpa, embedding, conv)"),
    "dtype": DTYPE,
    "b": size("batch of a matrix product; rows of a vector kernel"),
    "m": size("rows of a matrix product; row length of a vector kernel"),
    "n": count("columns of a matrix product; 0 for a vector kernel"),
    "k": count("inner dimension of a matrix product; 0 for a vector kernel"),
    "shape": text("what b, m, n, k leave open: a convolution's sizes, a table's rows", empty="nothing"),
}
KERNEL_KEY = tuple(KERNEL)
WORKLOAD: dict[str, Column] = {
    "model": text("model, as data/models names it"),
    "mode": text("what was run", values=MODES),
    "phase": text("prefill, decode (one token), or a training step", values=("prefill", "decode", "step")),
    "sequence_length": size("tokens per sequence"),
    "batch_size": size("sequences per step"),
    "context": count("tokens already cached"),
    "dtype": DTYPE,
    "attention": text("attention written out, or as one kernel", values=("eager", "fused")),
    "execution": text("as written, through torch.compile, or as written in one CUDA graph", values=EXECUTIONS),
}
WORKLOAD_KEY = tuple(WORKLOAD)


_timed = partial(positive, empty="not timed")
_noted = partial(amount, empty="not recorded")
_words = partial(text, empty="not recorded")
TIMING: dict[str, Column] = {
    "latency_ms": _timed("median, caches flushed before each repetition"),
    "low_ms": _timed("5th percentile of the repetitions"),
    "high_ms": _timed("95th percentile of the repetitions"),
    "repetitions": count("timed runs behind the median"),
    "outcome": text("measured, or why not", values=OUTCOMES),
    "reason": prose("what the device said where nothing was timed", title="Remark", empty="–"),
}
STATE: dict[str, Column] = {
    "clock_hz": positive("clock of the multiprocessors right after", empty="not recorded"),
    "power_w": _noted("power drawn right after"),
    "temperature_c": number("temperature right after, degrees Celsius", empty="not recorded"),
}
FORECAST: dict[str, Column] = {
    "predictor": PREDICTOR,
    "predicted_ms": positive("forecast latency", title="Forecast"),
    "predicted_low_ms": LOW,
    "predicted_high_ms": HIGH,
}
RUN: dict[str, Column] = {
    "device": text("folder of the measurements: the device, and how much of it was used"),
    "run": text("file of the run, without its ending"),
}
WHERE = prose("measured on this machine, or kept in the repository", title="Measured", values=("live", "replayed"))
_COMPOSED = text("timed whole, or composed of layers", title="Kind of figure", values=("measured", "composed"))

MEASURED_KERNELS = Table(
    "measured_kernels",
    "kernels timed on a device",
    KERNEL_KEY,
    **KERNEL,
    **TIMING,
    warm_ms=_timed("median, caches as the last run left them"),
    kernel_name=_words("the kernel that ran longest, by the profiler"),
    grid=_words("its grid"),
    block=_words("its block"),
    **STATE,
)

MEASURED_MODELS = Table(
    "measured_models",
    "whole models timed on a device",
    WORKLOAD_KEY,
    **WORKLOAD,
    **TIMING,
    passport=_COMPOSED,
    layers_timed=_words("layers of the shortened models a composed figure comes from"),
    forward_ms=_timed("forward pass of a training step"),
    backward_ms=_timed("the rest of a training step"),
    kernels=_noted("kernels launched, by the profiler"),
    kernel_ms=_noted("sum of their durations"),
    memory_bytes=_noted("peak of allocated memory"),
    **STATE,
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
    grid=_words("its grid"),
    block=_words("its block"),
)

UNITS = ("FLOP", "byte", "launch", "image")
MEASURED_READINGS = Table(
    "measured_readings",
    "what a campaign timed on a device besides kernels and models",
    ("stage", "item", "variant", "place"),
    stage=text("stage of the campaign"),
    item=text("what was timed"),
    variant=text("in which way", empty="there is one way only"),
    place=count("number of the sample, where a course of time is kept"),
    dtype=text("number format", title="Format", values=(*DTYPE_NAMES, "fp8"), empty="no arithmetic"),
    amount=amount("work of one run, in `unit`", empty="not counted"),
    unit=text("unit of `amount`", empty="not counted", values=UNITS),
    **TIMING,
    **STATE,
)

PLANNED_KERNELS = Table(
    "planned_kernels",
    "forecasts of kernels, written before they are measured",
    ("predictor", *KERNEL_KEY),
    rank=count("order to measure in: least certain first"),
    **KERNEL,
    **FORECAST,
)

PLANNED_MODELS = Table(
    "planned_models",
    "forecasts of models, written before they are measured",
    ("predictor", *WORKLOAD_KEY),
    **WORKLOAD,
    **FORECAST,
)

LIVE_KERNELS = Table(
    "live_kernels",
    "a kernel's forecast made before, and the measurement made after",
    (),
    where=WHERE,
    **RUN,
    **KERNEL,
    **FORECAST,
    measured_ms=MEASURED_MS,
    spread_percent=amount("5th to 95th percentile, of the median"),
    ape_percent=APE,
)

LIVE_MODELS = Table(
    "live_models",
    "a model's forecast made before, and the measurement made after",
    (),
    where=WHERE,
    **RUN,
    **WORKLOAD,
    predictor=text("who predicted", empty="none"),
    predicted_ms=positive("forecast made before", title="Forecast before", empty="none"),
    measured_ms=_timed("measured latency", title="Measured"),
    ape_percent=replace(APE, empty="none"),
    outcome=TIMING["outcome"],
    passport=_COMPOSED,
    reason=TIMING["reason"],
)

LIVE_SUMMARY = Table(
    "live_summary",
    "errors of forecasts made before measuring, by kernel family and format",
    ("where", "device", "predictor", "family", "dtype"),
    where=WHERE,
    device=RUN["device"],
    predictor=PREDICTOR,
    family=text("kernel family, or all", title="Kernels"),
    dtype=text("number format, or all", title="Format"),
    n=size("kernels forecast before and measured after", title="n"),
    not_timed=count("kernels that ran out of memory or failed"),
    mape_percent=MAPE_PERCENT,
    median_percent=MEDIAN_PERCENT,
    ratio=positive("geometric mean of forecast over measured", title="Forecast ÷ measured", digits=2),
    inside_percent=amount(
        "share inside the 80 % interval", title="In 80 % interval", digits=0, empty="none claimed"
    ),
)

LIVE_CALIBRATION = Table(
    "live_calibration",
    "errors after scaling forecasts by a few measured kernels",
    ("where", "device", "predictor", "n"),
    where=WHERE,
    device=RUN["device"],
    predictor=PREDICTOR,
    n=count("measured kernels the scales were fitted on", title="n"),
    tested=size("other kernels the error is over"),
    mape_percent=MAPE_PERCENT,
    median_percent=MEDIAN_PERCENT,
    low_percent=amount("10th percentile of the mean error over draws"),
    high_percent=amount("90th percentile of the mean error over draws"),
)

_signed = partial(number, digits=1, empty="not timed")
LIVE_LABELS = Table(
    "live_labels",
    "the artifact's labels, measured again on a GPU of the same type",
    ("device", "model", "mode", "sequence_length", "batch_size", "option"),
    device=RUN["device"],
    model=WORKLOAD["model"],
    mode=WORKLOAD["mode"],
    sequence_length=WORKLOAD["sequence_length"],
    batch_size=WORKLOAD["batch_size"],
    option=text("none, or fusion by a compiler"),
    label_ms=positive("the artifact's label", title="Label"),
    label_forward_ms=_timed("its forward pass"),
    label_backward_ms=_timed("its backward pass"),
    harness_ms=_timed("here, passes apart, the mean of the fastest 5 of 25", title="Here, by its rule"),
    harness_forward_ms=_timed("of that the forward pass"),
    harness_backward_ms=_timed("of that the backward pass"),
    measured_ms=_timed("here, the median of steps with caches flushed", title="Here, by ours"),
    harness_percent=_signed("label over here, by its rule, less one", title="Label, against its rule"),
    measured_percent=_signed("label over here, by ours, less one", title="Label, against ours"),
)

LIVE_SCENARIOS = Table(
    "live_scenarios",
    "work of the named scenarios, measured on one GPU",
    (),
    id=text("name of the scenario", title="Scenario"),
    device=RUN["device"],
    dtype=DTYPE,
    execution=WORKLOAD["execution"],
    predictor=text("who predicted", empty="none"),
    predicted_ms=positive("forecast made before", title="Forecast before", empty="none"),
    measured_ms=MEASURED_MS,
    ape_percent=replace(APE, empty="none"),
    passport=_COMPOSED,
)

LIVE_CONSTANTS = Table(
    "live_constants",
    "constants this library assumes, against what a device does",
    ("device", "constant"),
    device=RUN["device"],
    constant=prose("what it is", title="Constant"),
    where=text("module that assumes it", title="Where"),
    assumed=positive("its value", title="Assumed", digits=3),
    measured=positive("median of what was measured", title="Measured", digits=3),
    low=positive("5th percentile"),
    high=positive("95th percentile"),
    n=size("measurements", title="n"),
    verdict=text("whether it lies within 10 % of their range", values=("settled", "refuted"), title="Verdict"),
)

_run = partial(positive, empty="none")
_truth = partial(positive, empty="no ground truth")
SCENARIOS = Table(
    "scenarios",
    "named scenarios, forecast with and without communication, beside what others measured",
    ("id",),
    id=text("name of the scenario", title="Scenario"),
    title=prose("what it is", title="What it is"),
    device=text("GPU", title="GPU"),
    layout=text("how it is divided among GPUs"),
    compute_ms=_run("forecast without communication", title="Compute only"),
    latency_ms=_run("forecast with communication", title="With communication"),
    low_ms=_run("low end of its 80 % interval"),
    high_ms=_run("high end"),
    truth_low_ms=_truth("least measured by others"),
    truth_high_ms=_truth("most measured by others"),
    truth_source=prose("who measured", title="Source", empty="none found"),
    compute_ape_percent=amount("error without communication, of the middle of what was measured", empty="none"),
    ape_percent=amount("error with communication", title="Error", empty="none"),
    outcome=text("forecast, or failed", values=("forecast", "failed")),
    reason=prose("why it failed", title="Remark", empty="–"),
)

MEASURED = {
    "kernels": MEASURED_KERNELS,
    "models": MEASURED_MODELS,
    "timelines": MEASURED_TIMELINES,
    "readings": MEASURED_READINGS,
}
PLANNED = {"kernels": PLANNED_KERNELS, "models": PLANNED_MODELS}
LIVE = {
    "kernels": LIVE_KERNELS,
    "models": LIVE_MODELS,
    "summary": LIVE_SUMMARY,
    "calibration": LIVE_CALIBRATION,
    "labels": LIVE_LABELS,
    "scenarios_here": LIVE_SCENARIOS,
    "constants": LIVE_CONSTANTS,
}
