"""Collectives and steps on many GPUs: measured, forecast, searched."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tilecast.tables.columns import (
    APE,
    BIAS_PERCENT,
    LATENCY,
    MAPE_PERCENT,
    MEASURED,
    MEDIAN_PERCENT,
    WORST_PERCENT,
    N,
)
from tilecast.tables.schema import Table, amount, count, flag, integer, number, positive, prose, size, text

PARTS = {
    "compute": "kernels",
    "recompute": "kernels run again for the backward pass",
    "host": "waiting for the host",
    "tp": "communication of tensor parallelism",
    "ep": "communication of expert parallelism",
    "cp": "communication of context parallelism",
    "dp": "communication of data parallelism",
    "pp": "communication between stages",
    "bubble": "waiting in the pipeline",
    "optimizer": "optimizer step",
}

COLLECTIVE_MEASUREMENTS = Table(
    "collective_measurements",
    "transcribed: resources/published/nccl_collectives.csv",
    ("system", "op", "gpus", "bytes"),
    system=text("system, as data/systems names it"),
    nccl=text("version of NCCL"),
    op=text("collective"),
    gpus=integer("GPUs of the group", above=1),
    bytes=size("size of the whole buffer, as nccl-tests counts"),
    latency_ms=LATENCY,
)

COLLECTIVES = Table(
    "collectives",
    "collectives forecast and measured",
    ("basis", "system", "op", "gpus", "bytes"),
    basis=text("what was left out", values=("leave-one-size-out", "spec-only")),
    system=text("system, as data/systems names it"),
    op=text("collective"),
    gpus=integer("GPUs of the group", above=1),
    bytes=size("size of the whole buffer, as nccl-tests counts"),
    reference=text("measured system whose curves were used"),
    measured_ms=MEASURED,
    predicted_ms=positive("forecast of the curves as shipped"),
    held_out_ms=positive("forecast without this size, or this system"),
    low_ms=positive("low end of its 90 % interval", empty="fitted on the system"),
    high_ms=positive("high end", empty="fitted on the system"),
    ape_percent=APE,
)

COLLECTIVES_MAPE = Table(
    "collectives_mape",
    "errors of collectives by system and size",
    ("basis", "system", "op", "sizes"),
    basis=text("what was left out", values=("leave-one-size-out", "spec-only")),
    system=text("system, as data/systems names it"),
    op=text("collective"),
    sizes=text("which sizes", values=("all", "from 1 MiB")),
    n=N,
    mape_percent=MAPE_PERCENT,
    worst_percent=WORST_PERCENT,
)

_whole = partial(positive, digits=0)
_NO_PRICE = "no price"
VALIDATION = Table(
    "validation",
    "steps forecast and measured",
    ("suite", "case", "system", "layout"),
    suite=text("whose measurements"),
    case=text("what was run"),
    system=text("system, as data/systems names it"),
    device=text("GPU", title="GPU"),
    gpus=size("GPUs", title="GPUs"),
    layout=text("how it is divided among GPUs"),
    measured_ms=MEASURED,
    forecast_ms=positive("forecast latency", title="Forecast"),
    low_ms=positive("low end of its 80 % interval"),
    high_ms=positive("high end"),
    error_percent=number("signed error of the forecast"),
    authors_ms=positive("what the authors of the measurements forecast", empty="none stated"),
    fits=flag("whether the forecast memory fits"),
    **{f"{part}_ms": amount(f"{words} of the forecast") for part, words in PARTS.items()},
)

SCOREBOARD = Table(
    "scoreboard",
    "errors of each suite beside what was set out to be reached",
    ("suite",),
    suite=text("whose measurements", title="What was forecast"),
    cases=size("steps", title="n"),
    mean_percent=MAPE_PERCENT,
    median_percent=MEDIAN_PERCENT,
    worst_percent=WORST_PERCENT,
    signed_percent=replace(BIAS_PERCENT, title="Bias"),
    covered=count("steps inside their 80 % interval"),
    fitting=count("steps whose forecast memory fits"),
    authors_percent=amount("MAPE of the authors' own forecasts", title="Authors’ own", empty="–"),
    bar_mean_percent=positive("goal for the mean", empty="none set"),
    bar_worst_percent=positive("goal for the worst", empty="none set"),
)

SUSTAINED_SHARES = Table(
    "sustained_shares",
    "transcribed: resources/published/sustained_shares.csv",
    ("device", "rule"),
    device=text("GPU", title="GPU"),
    rule=text("of the three frameworks", values=("slowest", "middle", "mean")),
    share_from_0_05=positive("median over products of 0.05 to 0.2 TFLOP"),
    share_from_0_5=positive("median from 0.5 TFLOP up"),
    share=positive("median from 2 TFLOP up"),
    share_from_5=positive("median from 5 TFLOP up"),
    n=size("products from 2 TFLOP up"),
)

SUSTAINED = Table(
    "sustained",
    "errors of training steps by how much longer than vLLM's call a product takes in a run",
    ("rule", "suite"),
    rule=text("which of three frameworks' times", values=("slowest", "middle", "mean", "none")),
    suite=text("whose measurements"),
    n=N,
    mean_percent=MAPE_PERCENT,
    signed_percent=replace(BIAS_PERCENT, title="Bias"),
)

_EXAMPLE = text("worked example", title="Example")
_LAYOUT = text("how it is divided among GPUs", title="Layout")
_STEP = _whole("a training step", title="Step")
_TTFT = _whole("time to first token", title="Time to first token")
_TPOT = positive("time per output token", title="Time per output token")
_MEMORY = positive("memory of the fullest GPU", title="Memory")
_TOKENS = positive("tokens a second", title="Tokens per second", unit="", digits=0)
_PRICE = positive("dollars a million tokens", title="$/1M tokens", unit="", digits=2, empty=_NO_PRICE)

FIGURES = Table(
    "figures",
    "forecasts of the worked examples",
    ("example", "layout", "figure"),
    example=_EXAMPLE,
    layout=_LAYOUT,
    figure=text("quantity, with its unit"),
    value=positive("forecast", title="Forecast"),
    low=positive("low end of its interval", empty="none claimed"),
    high=positive("high end", empty="none claimed"),
)

STEP_PARTS = Table(
    "parts",
    "where time and memory of the worked examples go",
    ("example", "layout", "place", "what", "part"),
    example=_EXAMPLE,
    place=count("place of the layout among those compared"),
    layout=_LAYOUT,
    what=text("time or memory", values=("time_ms", "memory_gb", "stage_memory_gb")),
    part=text("part of it"),
    value=amount("in the unit that `what` ends in"),
)

TIMELINE = Table(
    "timeline",
    "passes of one step of the pipeline",
    ("stage", "kind", "microbatch", "chunk"),
    stage=count("stage of the pipeline"),
    kind=count("0 forward, 1 backward"),
    microbatch=count("microbatch"),
    chunk=count("piece of the stage"),
    start_ms=amount("start of the pass"),
    end_ms=amount("its end"),
)

SCALING = Table(
    "scaling",
    "the training example on other numbers of GPUs",
    ("scaling", "gpus"),
    scaling=text("what stays the same", values=("same batch", "same batch a GPU")),
    gpus=size("GPUs", title="GPUs"),
    batch=size("sequences a step"),
    feasible=count("layouts that can run"),
    layout=text("the fastest of them"),
    step_ms=_STEP,
    low_ms=positive("low end of its 80 % interval"),
    high_ms=positive("high end"),
    tokens_per_s=_TOKENS,
    usd_per_million_tokens=_PRICE,
)

SERVED = Table(
    "serving",
    "the serving example by layout and requests at once",
    ("example", "layout", "sequences"),
    example=_EXAMPLE,
    tp=size("GPUs a layer is split among"),
    layout=_LAYOUT,
    sequences=size("requests at once", title="Requests at once"),
    most=size("most requests that fit", title="Most that fit"),
    ttft_ms=_TTFT,
    tpot_ms=_TPOT,
    tokens_per_s=_TOKENS,
    memory_gb=_MEMORY,
    usd_per_million_tokens=_PRICE,
    front=flag("whether no other is at least as good in both figures"),
)

COST = Table(
    "cost",
    "what the worked examples cost",
    ("example", "what"),
    example=_EXAMPLE,
    what=prose("layout", title="Layout"),
    unit=text("what is paid for", title="Per"),
    hours=positive("hours of the whole system"),
    clusters=size("whole clusters paid for"),
    on_demand_usd=positive("price on demand", title="On demand", empty=_NO_PRICE),
    reserved_usd=positive("price reserved", title="Reserved", empty=_NO_PRICE),
    energy_kwh=positive("energy", empty="not known"),
)

SEARCH = Table(
    "search",
    "layouts tried: the ten best, the best of each rank, the front; near ones as one",
    (),
    example=_EXAMPLE,
    place=positive("place among all that can run", title="Place", digits=0, empty="cannot run"),
    feasible=positive("layouts that can run", digits=0, empty="cannot run"),
    layout=text("how it is divided among GPUs", title="Layout", empty="cannot run"),
    tp=positive("GPUs a layer is split among", digits=0, empty="cannot run"),
    front=flag("whether no other is at least as good in both figures"),
    memory_gb=replace(_MEMORY, empty="cannot run"),
    step_ms=replace(_STEP, empty="serving"),
    tokens_per_s=replace(_TOKENS, empty="cannot run"),
    usd_per_hour=positive("price of the system", title="Price", empty=_NO_PRICE),
    usd_per_million_tokens=_PRICE,
    why=prose("what it does otherwise than the best", title="Against the best", empty="the best"),
    ttft_ms=replace(_TTFT, empty="training"),
    tpot_ms=replace(_TPOT, empty="training"),
)

INFEASIBLE = Table(
    "infeasible",
    "layouts that cannot run, by reason",
    (),
    example=_EXAMPLE,
    layouts=size("layouts that cannot run", title="Layouts"),
    such_as=prose("why, of one of them", title="Stopped, for example, because"),
)

SENSITIVITY = Table(
    "sensitivity",
    "the worked examples with one assumption changed",
    ("example", "figure", "assumption"),
    example=_EXAMPLE,
    figure=text("quantity, with its unit"),
    assumption=text("assumption changed"),
    low_setting=text("one end of it"),
    high_setting=text("the other end"),
    forecast=positive("forecast as assumed"),
    low=positive("forecast at the one end"),
    high=positive("forecast at the other"),
)

STUDY = {
    table.name: table
    for table in (FIGURES, STEP_PARTS, TIMELINE, SCALING, SERVED, COST, SEARCH, INFEASIBLE, SENSITIVITY)
}
