"""The study of experts on several GPUs."""

from __future__ import annotations

from tilecast.tables.columns import MAPE_PERCENT, SOURCE, WORST_PERCENT, N
from tilecast.tables.schema import Column, Table, amount, flag, integer, number, positive, prose, size, text

ALLTOALL_MEASUREMENTS = Table(
    "moe_alltoall_measurements",
    "transcribed: resources/published/moe_alltoall.csv",
    ("system", "kernel", "gpus", "tokens"),
    system=text("system, as data/systems names it"),
    kernel=text("way of sending", values=("low latency", "high throughput")),
    gpus=integer("GPUs among which the experts lie", above=1),
    tokens=size("of each GPU"),
    dispatch_us=positive("to the experts", empty="rate stated"),
    combine_us=positive("back", empty="rate stated"),
    dispatch_bytes_per_s=positive("rate stated instead", empty="time stated"),
    combine_bytes_per_s=positive("rate stated instead", empty="time stated"),
    in_use=flag("whether the kernel is meant for so many tokens"),
    source=SOURCE,
)

TRACE = Table(
    "moe_trace",
    "routed tokens, given by a user",
    (),
    sequence=integer("sequence, from 0", minimum=0),
    step=integer("decoding step, from 0", minimum=0),
    layer=integer("layer with experts, from 0", minimum=0),
    expert=integer("expert that the token takes, from 0", minimum=0),
)

_CANNOT, _UNSTATED = "cannot run", "not modelled"
_VERDICT = text(
    "whether experts fit", title="Experts", values=("not asked", "resident", "offloaded", "impossible")
)
_BASELINE = positive("throughput without the prefetcher", empty=_CANNOT)
_PROPHET = positive("throughput with it", empty=_CANNOT)
_LINKS = text("links between the GPUs", title="Over", values=("NVLink", "network"))

SYSTEMS = Table(
    "moe_systems",
    "a strategy on a system, as published and as physics allows",
    ("mode", "system", "strategy"),
    mode=text("whose arithmetic", title="Reading", values=("as_published", "as_described", "physical")),
    system=text("system of the study"),
    strategy=text("how GPUs are used", values=("expert_parallel", "data_parallel", "hybrid")),
    spread=text("replicas (DP) x expert parallel (EP)", title="GPUs as"),
    gpus=size("GPUs", title="GPUs"),
    verdict=_VERDICT,
    reason=prose("why", title="Why"),
    resident_percent=amount("share of a GPU's experts in its memory", title="Resident", digits=0, empty=_UNSTATED),
    baseline_tokens_per_s=_BASELINE,
    prophet_tokens_per_s=_PROPHET,
    speedup=positive("prophet over baseline", unit="×", digits=2, empty=_CANNOT),
    **{
        f"{name}_{end}{unit}": positive(f"{end} end over the unstated inputs", digits=digits, empty=_UNSTATED)
        for name, unit, digits in (
            ("baseline_tokens", "_per_s", 1),
            ("prophet_tokens", "_per_s", 1),
            ("speedup", "", 2),
        )
        for end in ("low", "high")
    },
    hit_percent=amount("share of needed experts that are there when asked for", title="Hit rate", empty=_UNSTATED),
    prophet_hit_percent=amount("the same with the prefetcher", title="Hit rate, prefetching", empty=_UNSTATED),
    baseline_communication_percent=amount("share of time between GPUs", title="Between GPUs", empty="none"),
    prophet_communication_percent=amount("share of time between GPUs", empty="none"),
    baseline_waiting_percent=amount(
        "share of time waiting for the host", title="Waiting for host", empty=_UNSTATED
    ),
    prophet_waiting_percent=amount("share of time waiting for the host", empty=_UNSTATED),
    communicated_bytes_per_token=amount("sent between GPUs", title="Sent", digits=0, empty=_CANNOT),
    communication_reduction=number("time communicated, before over after", empty=_CANNOT),
    baseline_efficiency_percent=number("of GPUs times one GPU's rate", empty=_CANNOT),
    prophet_efficiency_percent=number("of GPUs times one GPU's rate", empty=_CANNOT),
    baseline_usd_per_million_tokens=positive("price without the prefetcher", digits=2, empty=_CANNOT),
    prophet_usd_per_million_tokens=positive("price with it", digits=2, empty=_CANNOT),
    saving_usd_per_year=number("if every hour is billed by itself", empty=_CANNOT),
    baseline_clusters=positive("whole clusters for a month's tokens", empty=_CANNOT),
    prophet_clusters=positive("whole clusters for a month's tokens", empty=_CANNOT),
    reserved_saving_usd_per_year=number("if whole clusters are kept", empty=_CANNOT),
)

LAYOUTS = Table(
    "layouts",
    "every layout of the study's own model",
    ("system", "replicas", "expert_parallel", "tensor_parallel"),
    system=text("system of the study"),
    replicas=size("replicas of the model"),
    expert_parallel=size("GPUs the experts are spread over"),
    tensor_parallel=size("GPUs a layer is split among"),
    verdict=_VERDICT,
    baseline_tokens_per_s=_BASELINE,
    prophet_tokens_per_s=_PROPHET,
    reason=prose("why", title="Why"),
)

MODELS = Table(
    "models",
    "real models on the study's systems",
    ("model", "system", "strategy"),
    model=text("model"),
    **{
        name: SYSTEMS.columns[name]
        for name in (
            "system",
            "strategy",
            "spread",
            "verdict",
            "resident_percent",
            "baseline_tokens_per_s",
            "prophet_tokens_per_s",
            "speedup",
            "communicated_bytes_per_token",
            "baseline_waiting_percent",
            "reason",
        )
    },
)

_SPEED: dict[str, Column] = {
    "baseline_tokens_per_s": positive("without the prefetcher"),
    "prophet_tokens_per_s": positive("with it"),
    "speedup": positive("prophet over baseline", unit="×", digits=2),
}
TORNADO = Table(
    "tornado",
    "one input of the study changed at a time",
    (),
    factor=text("input changed"),
    meaning=text("what it is"),
    value=number("its value", empty="as in the study"),
    **_SPEED,
    hit_rate=amount("share of experts that are there when needed"),
)

_KEPT = amount("share of the experts that stay on the GPU", digits=2, empty="not stated")
_RATIO = positive("fetching what a layer needs, over computing it", unit="×", digits=2, empty="not stated")
WHERE = Table(
    "where",
    "where prefetching pays: recall, what stays on the GPU, what crosses",
    ("recall", "kept_share", "transfer_over_compute"),
    recall=amount("share of needed experts named ahead", digits=2),
    kept_share=_KEPT,
    transfer_over_compute=_RATIO,
    speedup=positive("prefetching over on demand, the same cache", unit="×", digits=2),
    cached_rate=amount("share of needed experts there, on demand", digits=2),
    hit_rate=amount("the same with prefetching", digits=2),
)

ALLTOALL = Table(
    "alltoall",
    "exchanges of tokens forecast and measured",
    ("system", "kernel", "gpus", "tokens", "direction"),
    **{name: ALLTOALL_MEASUREMENTS.columns[name] for name in ("system", "kernel", "gpus", "tokens")},
    direction=text("to the experts, or back", values=("dispatch", "combine")),
    links=_LINKS,
    in_use=ALLTOALL_MEASUREMENTS.columns["in_use"],
    measured_us=positive("measured"),
    predicted_us=positive("forecast"),
    error_percent=number("signed error of the forecast"),
    source=SOURCE,
)

ALLTOALL_ERRORS = Table(
    "alltoall_errors",
    "errors of exchanges by links and way of sending",
    ("links", "kernel", "sizes"),
    links=_LINKS,
    kernel=text("way of sending, or all", title="Kernels"),
    sizes=text("which sizes", title="Sizes", values=("in use", "all")),
    n=N,
    mape_percent=MAPE_PERCENT,
    worst_percent=WORST_PERCENT,
)

ANCHORS = Table(
    "anchors",
    "a step's time that others published, beside the model's",
    ("id",),
    id=text("name of the figure"),
    source=prose("who measured"),
    gpu=text("GPU"),
    model=text("model"),
    method=text("system that serves"),
    batch=size("sequences decoded together", unit=""),
    judged=flag("whether the model is judged on it, or it was added as a check"),
    measured_ms=positive("published time of a step", title="Published", digits=0),
    fastest_ms=positive("fastest over what the source does not state", digits=0),
    slowest_ms=positive("slowest", digits=0),
    forecast_ms=positive("geometric middle of the two", title="Model", digits=0),
    factor=positive("the larger of published and model over the smaller", unit="×", digits=2),
    measured_over_model=positive("how far outside that range", title="Beyond", unit="×", digits=2),
    kept_share=_KEPT,
    transfer_over_compute=_RATIO,
    prefetching_low=positive("least gain over the same system on demand", unit="×", digits=2),
    prefetching_high=positive("most", unit="×", digits=2),
    difference=prose("why it differs, where it does by more than two", empty="none stated"),
)

GAINS = Table(
    "gains",
    "gains that others state, and what of them is prefetching's own",
    ("source", "what"),
    source=prose("who states it"),
    what=text("gain of what", title="Of"),
    gain=positive("stated", unit="×", digits=2),
    model_gain=positive("the model's, of the same two systems", unit="×", digits=2, empty="not stated"),
    prefetching_low=positive(
        "least that prefetching adds to the same cache", unit="×", digits=2, empty="not stated"
    ),
    prefetching_high=positive("most", unit="×", digits=2, empty="not stated"),
    kept_share=_KEPT,
    transfer_over_compute=_RATIO,
)

OVERLAP = Table(
    "overlap",
    "a copy behind a matrix product",
    (),
    device=text("device"),
    torch=text("version of PyTorch"),
    repeats=size("runs behind each median"),
    load_average=amount("load of the machine", title="Load"),
    copied_bytes=size("size of the copy"),
    compute_ms=positive("product alone", title="Product alone", digits=2),
    copy_ms=positive("copy alone", title="Copy alone", digits=2),
    both_ms=positive("both at once", title="Both at once", digits=2),
    exposed_ms=number("both less the product", title="Exposed", digits=2),
    formula_exposed_ms=amount("max(0, copy - product)", title="By the formula", digits=2),
)
