"""Half precision on today's GPUs: kernels with a generation left out, serving points, noise of the timings."""

from __future__ import annotations

from functools import partial

from tilecast.tables.columns import CLOSER_PERCENT, MAPE_PERCENT, MEDIAN_PERCENT, PREDICTOR, N
from tilecast.tables.schema import Column, Table, amount, count, flag, positive, size, text

KINDS = ("dense", "mixture")
_GPU: dict[str, Column] = {
    "generation": text("generation of the GPU forecast", title="Forecast"),
    "device": text("GPU forecast", title="GPU"),
}
_GROUP: dict[str, Column] = {
    "family": text("kernel family: gemm, attention in prefill or decode, experts by kernel", title="Kernels"),
    "dtype": text("number format", title="Format"),
}
_UNCLAIMED, _UNSTATED = "none claimed", "not stated"
_COUNT = count("calls", title="n")
_ratio = partial(positive, unit="median", digits=2)

PROTOCOL = Table(
    "protocol",
    "errors with a generation left out, or forward in time",
    ("kind", "device", "family", "dtype", "predictor"),
    kind=text("left out, or forecast from older generations", values=("left out", "forward")),
    **_GPU,
    **_GROUP,
    predictor=PREDICTOR,
    n=_COUNT,
    n_long=count("calls of at least 0.05 ms"),
    mape_long_percent=amount("MAPE of these", title="MAPE, calls ≥ 0.05 ms", empty="none so long"),
    mape_percent=MAPE_PERCENT,
    ratio_median=_ratio("median of forecast over measured", title="Forecast ÷ measured"),
    inside_percent=amount("share inside the 80 % interval", title="In 80 % interval", digits=0, empty=_UNCLAIMED),
    half_width=amount("half of the interval, in logarithm", empty=_UNCLAIMED),
    n_flagged=count("calls flagged as duplicates or slow paths, not counted above"),
    mape_with_flagged_percent=amount("MAPE with these", title="MAPE with flagged rows"),
    law=text("law of the board's power", empty="not used"),
    decay=amount("weight of donors, per distance", empty="not used"),
)

_RIVALS = {
    "calls": text("calls of at least 0.05 ms, or all", values=("long", "all")),
    "predictor": PREDICTOR,
    "n": _COUNT,
    "mape_percent": MAPE_PERCENT,
    "median_percent": MEDIAN_PERCENT,
    "closer_percent": CLOSER_PERCENT,
}

GENERATION_BASELINES = Table(
    "generation_baselines",
    "bf16 products of a sample with a generation left out, beside simple rivals",
    ("generation", "calls", "predictor"),
    generation=_GPU["generation"],
    **_RIVALS,
)

SHAPE_BASELINES = Table(
    "shape_baselines",
    "bf16 products and attention of shapes left out on every GPU, beside simple rivals",
    ("family", "generation", "calls", "predictor"),
    family=_GROUP["family"],
    generation=_GPU["generation"],
    **_RIVALS,
)

HALF_ABLATION = Table(
    "half_ablation",
    "bf16 with a generation left out, trained without each constant that a look motivated",
    ("without", "family", "generation"),
    without=text("constant taken out", title="Without"),
    family=_GROUP["family"],
    generation=_GPU["generation"],
    n=_COUNT,
    mape_long_percent=amount("MAPE of calls of at least 0.05 ms", title="MAPE, calls ≥ 0.05 ms"),
    mape_percent=MAPE_PERCENT,
)

SIZES = Table(
    "sizes",
    "errors by how long a call takes",
    (),  # calls shorter than the first class are a row of their own, with its `from_ms`
    **_GPU,
    predictor=PREDICTOR,
    from_ms=positive("shortest call of the class; the longest takes twice as long"),
    n=N,
    mape_percent=MAPE_PERCENT,
)

SURFACE = Table(
    "surface",
    "utilisation of one matrix product's sizes",
    ("device", "m", "n"),
    device=_GPU["device"],
    m=positive("rows"),
    n=positive("columns"),
    measured=amount("share of peak measured"),
    forecast=amount("share of peak forecast"),
)

NOISE = Table(
    "noise",
    "several frameworks on the same library kernel",
    ("device", "family", "dtype"),
    device=_GPU["device"],
    **_GROUP,
    n=count("calls that other frameworks timed too", title="Also by others"),
    mean_percent=amount("mean deviation from the median", title="Mean spread", empty="one framework"),
    p90_percent=amount("90th percentile of it", title="90th percentile", empty="one framework"),
    duplicates_and_slow_paths=count("calls flagged", title="Flagged"),
    rows=count("calls"),
)

_POINT: dict[str, Column] = {
    "point": text("measured deployment"),
    "device": _GPU["device"],
    "model": text("model"),
    "framework": text("serving framework"),
    "precision": text("number format of the weights", empty=_UNSTATED),
    "prompt": size("tokens of a prompt"),
    "output": size("tokens of an answer"),
    "concurrency": positive("requests in flight"),
    "tp": positive("GPUs a layer is split among"),
}
SERVING_POINTS = Table(
    "serving_points",
    "deployments as published: what was measured, in which configuration",
    ("point",),
    point=_POINT["point"],
    device=_GPU["device"],
    sweep=flag("whether the point is of the open sweep"),
    model=_POINT["model"],
    system=text("system, in the publisher's words"),
    framework=_POINT["framework"],
    version=text("its version", empty=_UNSTATED),
    precision=_POINT["precision"],
    gemm_dtype=text("number format of matrix products", empty=_UNSTATED),
    moe_dtype=text("number format of the experts", empty=_UNSTATED),
    **{name: _POINT[name] for name in ("prompt", "output", "concurrency", "tp")},
    moe_tp=positive("GPUs an expert is split among"),
    moe_ep=positive("GPUs the experts are spread over"),
    attention_dp=positive("copies of the attention layers", empty=_UNSTATED),
    ttft_ms=positive("measured time to first token"),
    tpot_ms=positive("measured time per output token"),
)

SERVING = Table(
    "serving",
    "serving points forecast and measured",
    ("point", "left_out"),
    **_POINT,
    kind=text("kind of model", values=KINDS),
    left_out=flag("whether the GPU's generation was left out of training", title="Generation"),
    ttft_ms=positive("forecast time to first token"),
    tpot_ms=positive("forecast time per output token"),
    measured_ttft_ms=positive("measured time to first token"),
    measured_tpot_ms=positive("measured time per output token"),
    step_ms=amount("a pass of decoding requests alone"),
    prefill_ms=amount("a pass of one prompt"),
    collectives_ms=amount("collectives of a decoding pass"),
)

_MEDIANS: dict[str, Column] = {
    "n": _COUNT,
    "tpot_median_percent": amount("of time per output token", title="TPOT, median error"),
    "ttft_median_percent": amount("of time to first token", title="TTFT, median error"),
    "tpot_ratio": _ratio("of time per output token", title="TPOT, forecast ÷ measured"),
    "ttft_ratio": _ratio("of time to first token", title="TTFT, forecast ÷ measured"),
}
SERVING_ERRORS = Table(
    "serving_errors",
    "errors of serving points",
    ("left_out", "kind", "device", "framework"),
    left_out=SERVING.columns["left_out"],
    kind=text("kind of model", title="Models", values=KINDS),
    device=text("GPU, or all", title="GPU"),
    framework=text("serving framework, or all"),
    **_MEDIANS,
)

SERVING_ABLATION = Table(
    "serving_ablation",
    "serving forecasts without each mechanism that a look at serving errors motivated",
    ("without", "kind"),
    without=text("what is taken out", title="Without"),
    kind=text("kind of model", title="Models", values=KINDS),
    n=N,
    tpot_median_percent=amount("median error of time per output token", title="TPOT, median error"),
    tpot_percent=amount("mean of it", title="mean"),
    ttft_median_percent=amount("median error of time to the first token", title="TTFT, median error"),
    ttft_percent=amount("mean of it", title="mean"),
)

SERVING_INTERVALS = Table(
    "serving_intervals",
    "how far measured serving times lie from forecasts with the GPU's generation left out",
    ("kind", "what"),
    kind=text("kind of model", title="Models", values=KINDS),
    what=text("time", values=("ttft", "tpot"), title="Time"),
    n=N,
    groups=count("models on a GPU, each left out in turn"),
    form=text("how the ends are made"),
    low_ratio=positive("low end over forecast", unit="ratio"),
    high_ratio=positive("high end over forecast", unit="ratio"),
    held_percent=amount(
        "the kind's points within the interval of other groups", unit="%", title="In 80 % interval"
    ),
)

ANCHOR = Table(
    "anchor",
    "the publisher's own system beside this project's, on the same points",
    ("forecaster",),
    forecaster=text("whose forecast"),
    **_MEDIANS,
)

PUBLISHER = Table(
    "publisher",
    "what the publisher's own system forecasts",
    ("point",),
    point=_POINT["point"],
    ttft_ms=positive("its time to first token", empty="no answer"),
    tpot_ms=positive("its time per output token", empty="no answer"),
    reason=text("why it did not answer", empty="it answered"),
)
