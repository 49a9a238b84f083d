"""The tables of this stage: what is forecast before measuring, what is measured, and what came of it."""

from __future__ import annotations

from tilecast.tables.schema import DTYPE_NAMES, FAMILIES, MODES, TABLES, Column, Table

OUTCOMES = ("measured", "out of memory", "failed")
EXECUTIONS = ("eager", "compiled")

KERNEL: dict[str, Column] = {
    "family": Column("text", "kernel family", values=FAMILIES),
    "op": Column("text", "operation (linear, bmm, add, addu, gelu, ln, rmsnorm, softmax, sdpa, embedding, conv)"),
    "dtype": Column("text", "number format", values=DTYPE_NAMES),
    "b": Column("integer", "batch of a matrix product; rows of a vector kernel", above=0),
    "m": Column("integer", "rows of a matrix product; row length of a vector kernel", above=0),
    "n": Column("integer", "columns of a matrix product; 0 for a vector kernel", minimum=0),
    "k": Column("integer", "inner dimension of a matrix product; 0 for a vector kernel", minimum=0),
    "shape": Column("text", "what b, m, n, k leave open: a convolution's sizes, a table's rows", nullable=True),
}
KERNEL_KEY = tuple(KERNEL)
WORKLOAD: dict[str, Column] = {
    "model": Column("text", "model, as data/models names it"),
    "mode": Column("text", "what was run", values=MODES),
    "phase": Column(
        "text", "prefill, decode (one token), or a training step", values=("prefill", "decode", "step")
    ),
    "sequence_length": Column("integer", "tokens per sequence", above=0),
    "batch_size": Column("integer", "sequences per step", above=0),
    "context": Column("integer", "tokens already cached", minimum=0),
    "dtype": Column("text", "number format", values=DTYPE_NAMES),
    "attention": Column("text", "attention written out, or as one kernel", values=("eager", "fused")),
    "execution": Column("text", "as written, or through torch.compile", values=EXECUTIONS),
}
WORKLOAD_KEY = tuple(WORKLOAD)


def _milliseconds(meaning: str) -> Column:
    return Column("number", f"{meaning}, milliseconds; empty where nothing was timed", nullable=True, above=0)


TIMING: dict[str, Column] = {
    "latency_ms": _milliseconds("median, caches flushed before each repetition"),
    "low_ms": _milliseconds("5th percentile of the repetitions"),
    "high_ms": _milliseconds("95th percentile of the repetitions"),
    "repetitions": Column("integer", "timed runs behind the median", minimum=0),
    "outcome": Column("text", "measured, or why not", values=OUTCOMES),
    "reason": Column("text", "what the device said where nothing was timed", nullable=True),
}
STATE: dict[str, Column] = {
    "clock_hz": Column("number", "clock of the multiprocessors right after", nullable=True, above=0),
    "power_w": Column("number", "power drawn right after", nullable=True, minimum=0),
    "temperature_c": Column("number", "temperature right after, degrees Celsius", nullable=True),
}
FORECAST: dict[str, Column] = {
    "predictor": Column("text", "who forecast"),
    "predicted_ms": Column("number", "forecast latency, milliseconds", above=0),
    "predicted_low_ms": Column("number", "low end of its 80 % interval", nullable=True, above=0),
    "predicted_high_ms": Column("number", "high end", nullable=True, above=0),
}
RUN: dict[str, Column] = {
    "device": Column("text", "folder of the measurements: the device, and how much of it was used"),
    "run": Column("text", "file of the run, without its ending"),
}
WHERE = Column("text", "measured on this machine, or taken from the repository", values=("live", "replayed"))

_MEASURED_KERNEL = KERNEL | TIMING | {
    "warm_ms": _milliseconds("median, caches as the last run left them"),
    "kernel_name": Column("text", "the kernel that ran longest, by the profiler", nullable=True),
    "grid": Column("text", "its grid", nullable=True),
    "block": Column("text", "its block", nullable=True),
} | STATE  # fmt: skip
_MEASURED_MODEL = WORKLOAD | TIMING | {
    "passport": Column("text", "timed whole, or composed of layers", values=("measured", "composed")),
    "layers_timed": Column("text", "layers of the shortened models a composed figure comes from", nullable=True),
    "forward_ms": _milliseconds("forward pass of a training step"),
    "backward_ms": _milliseconds("the rest of a training step"),
    "kernels": Column("number", "kernels launched, by the profiler", nullable=True, minimum=0),
    "kernel_ms": Column("number", "sum of their durations, milliseconds", nullable=True, minimum=0),
    "memory_bytes": Column("number", "peak of allocated memory", nullable=True, minimum=0),
} | STATE  # fmt: skip

TABLES.update(
    {
        "measured_kernels": Table(_MEASURED_KERNEL, key=KERNEL_KEY),
        "measured_models": Table(_MEASURED_MODEL, key=WORKLOAD_KEY),
        "measured_timelines": Table(  # what one run of a measured model launched, in order
            WORKLOAD
            | {
                "place": Column("integer", "number of the launch", minimum=0),
                "kernel_name": Column("text", "kernel, or operation on a CPU"),
                "start_ms": Column("number", "since the first launch", minimum=0),
                "duration_ms": Column("number", "its duration", minimum=0),
                "grid": Column("text", "its grid", nullable=True),
                "block": Column("text", "its block", nullable=True),
            },
            key=(*WORKLOAD_KEY, "place"),
        ),
        "planned_kernels": Table(  # written before measuring
            {"rank": Column("integer", "order to measure in: least sure first", minimum=0)} | KERNEL | FORECAST,
            key=("predictor", *KERNEL_KEY),
        ),
        "planned_models": Table(WORKLOAD | FORECAST, key=("predictor", *WORKLOAD_KEY)),
        "live_kernels": Table(  # a forecast made before, and the measurement made after
            {"where": WHERE} | RUN | KERNEL | FORECAST | {
                "measured_ms": Column("number", "measured latency, milliseconds", above=0),
                "spread_percent": Column("number", "5th to 95th percentile, of the median", minimum=0),
                "ape_percent": Column("number", "absolute percentage error", minimum=0),
            },
        ),
        "live_models": Table(
            {"where": WHERE} | RUN | WORKLOAD | {
                "predictor": Column("text", "who forecast", nullable=True),
                "predicted_ms": Column("number", "forecast made before", nullable=True, above=0),
                "measured_ms": Column("number", "measured latency, milliseconds", nullable=True, above=0),
                "ape_percent": Column("number", "absolute percentage error", nullable=True, minimum=0),
                "outcome": TIMING["outcome"],
                "passport": _MEASURED_MODEL["passport"],
                "reason": TIMING["reason"],
            },
        ),
        "live_summary": Table(
            {
                "where": WHERE,
                "device": RUN["device"],
                "predictor": Column("text", "who forecast"),
                "family": Column("text", "kernel family, or all"),
                "dtype": Column("text", "number format, or all"),
                "n": Column("integer", "kernels forecast before and measured after", above=0),
                "not_timed": Column("integer", "kernels that ran out of memory or failed", minimum=0),
                "mape_percent": Column("number", "mean absolute percentage error", minimum=0),
                "median_percent": Column("number", "median absolute percentage error", minimum=0),
                "ratio": Column("number", "geometric mean of forecast over measured", above=0),
                "inside_percent": Column("number", "inside the claimed 80 % interval", nullable=True, minimum=0),
            },
            key=("where", "device", "predictor", "family", "dtype"),
        ),
        "live_calibration": Table(
            {
                "where": WHERE,
                "device": RUN["device"],
                "predictor": Column("text", "who forecast"),
                "n": Column("integer", "measured kernels the scales were fitted on", minimum=0),
                "tested": Column("integer", "other kernels the error is over", above=0),
                "mape_percent": Column("number", "mean absolute percentage error on those", minimum=0),
                "median_percent": Column("number", "median absolute percentage error on those", minimum=0),
                "low_percent": Column("number", "10th percentile of the mean error over draws", minimum=0),
                "high_percent": Column("number", "90th percentile of the mean error over draws", minimum=0),
            },
            key=("where", "device", "predictor", "n"),
        ),
    }
)  # fmt: skip
