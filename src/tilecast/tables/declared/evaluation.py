"""Forecasts of the artifact's cells against their measured labels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tilecast.tables import columns as c
from tilecast.tables.schema import Table, amount, count, flag, number, positive, prose, size, text

_MODE = text("inference, training, or `all`")
_OPTION = text("option, distributed, or `all`")
_SIDE = text("in, out, or `all`")
_SEEN = text("GPU in training, held out, or `all`", title="Training", values=c.GPU_SEEN)
_PHASE = text("forward or backward pass of a training cell", title="Pass", values=("forward", "backward"))
_CLASS = text("class of operators", values=c.OPERATOR_CLASSES)
_DISTRIBUTION = text("in or out of the training distribution", values=("in", "out"))
_ERROR = {
    "measured_ms": c.MEASURED,
    "predicted_ms": amount("forecast latency", title="Forecast"),
    "ape_percent": c.APE,
    "distribution": _DISTRIBUTION,
}

ERRORS = Table(
    "errors",
    "forecast of a cell against its label",
    ("predictor", *c.CELL_KEY),
    predictor=c.PREDICTOR,
    **c.CELL,
    **_ERROR,
)

MAPE = Table(
    "mape",
    "errors of groups of cells, roll-ups included",
    ("predictor", "device", "mode", "option", "distribution"),
    predictor=c.PREDICTOR,
    device=c.DEVICES,
    mode=_MODE,
    option=_OPTION,
    distribution=_SIDE,
    **c.STATISTICS,
)

INTERVAL_CELLS = Table(
    "interval_cells",
    "measured plain cells against the interval claimed for them",
    ("predictor", *c.CELL_KEY),
    predictor=c.PREDICTOR,
    **c.CELL,
    measured_ms=c.MEASURED,
    predicted_ms=positive("forecast latency", title="Forecast"),
    low_ms=amount("lower end of the interval"),
    high_ms=positive("upper end of the interval"),
    position=number("measured less forecast, in half-widths, log scale; inside: -1 to 1", empty="no width"),
    distribution=_DISTRIBUTION,
)

COVERAGE = Table(
    "coverage",
    "share of measured cells inside the interval claimed for them",
    ("predictor", "device", "gpu", "mode", "distribution"),
    predictor=c.PREDICTOR,
    device=c.DEVICES,
    gpu=_SEEN,
    mode=_MODE,
    distribution=_SIDE,
    n=c.N,
    claimed_percent=amount("share of measurements the interval claims", digits=0),
    inside=count("measured cells inside their interval"),
    coverage_percent=amount("the share inside", title="Inside"),
    ci_low=amount("lower end of the binomial interval of that share", title="Low", unit="%", digits=0),
    ci_high=amount("upper end of it", title="High", unit="%", digits=0),
    width_percent=amount("mean width of the interval relative to the forecast", title="Mean width"),
    half_widths_needed=amount("multiple of the half-width that holds the claimed share", empty="no width"),
)

INTERVAL_SUITES = Table(
    "interval_suites",
    "intervals by suite: the share inside, what chance allows, and the score beside a constant width",
    ("suite", "group"),
    suite=text("what was forecast", title="Suite"),
    group=text("GPU, engine, publisher, system, generation or family; or all", title="Group"),
    n=c.N,
    sources=size("sources that err alike", title="Sources", empty="not kept"),
    claimed_percent=amount("share of measurements the interval claims", title="Claimed", digits=0),
    coverage_percent=amount("the share inside", title="Inside", digits=0),
    chance_low=amount("least share that chance allows", title="Chance, from", unit="%", digits=0),
    chance_high=amount("greatest share that chance allows", title="to", unit="%", digits=0),
    verdict=text(
        "within 4 points of the claim, else within chance, else too narrow or too wide",
        title="Verdict",
        values=("held", "within chance", "too narrow", "too wide"),
    ),
    winkler=amount("Winkler's score of the logarithm", title="Score", digits=2, empty="not scored"),
    winkler_constant=amount(
        "the score of one width from all other sources", title="Constant", digits=2, empty="not scored"
    ),
    gain_percent=number("how much better than the constant", title="Better by", empty="not scored"),
)

KERNEL_ERRORS = Table(
    "kernel_errors",
    "forecasts of the artifact's held-out kernels",
    ("predictor", "family", "device", "gpu"),
    predictor=c.PREDICTOR,
    family=c.FAMILY,
    device=c.DEVICES,
    gpu=_SEEN,
    n=size("kernels", title="n"),
    mape_percent=c.MAPE_PERCENT,
    median_percent=c.MEDIAN_PERCENT,
    bias_percent=c.BIAS_PERCENT,
    claimed_percent=number("share the intervals claim", empty="none claimed"),
    coverage_percent=amount("share inside them", title="In 80 % interval", digits=0, empty="none claimed"),
)

PHASE_ERRORS = Table(
    "phase_errors",
    "forecast of a pass of a training cell against its label",
    ("predictor", *c.CELL_KEY, "phase"),
    predictor=c.PREDICTOR,
    **c.CELL,
    phase=_PHASE,
    **_ERROR,
)

PHASE_MAPE = Table(
    "phase_mape",
    "errors of groups of passes, roll-ups included",
    ("predictor", "device", "phase", "option", "distribution"),
    predictor=c.PREDICTOR,
    device=c.DEVICES,
    phase=_PHASE,
    option=_OPTION,
    distribution=_SIDE,
    **c.STATISTICS,
)

OPERATOR_CELLS = Table(
    "operator_cells",
    "one operator class of one cell, repeated layers counted",
    ("predictor", *c.CELL_KEY, "operator_class"),
    predictor=c.PREDICTOR,
    **c.CELL,
    operator_class=_CLASS,
    operators=size("graph nodes of the class, each layer counted once"),
    **_ERROR,
)

OPERATOR_ERRORS = Table(
    "operator_errors",
    "errors of groups of operators, roll-ups included",
    ("predictor", "operator_class", "device", "mode", "distribution"),
    predictor=c.PREDICTOR,
    operator_class=_CLASS,
    device=c.DEVICES,
    mode=_MODE,
    distribution=_SIDE,
    **c.STATISTICS,
)

_ratio = partial(amount, digits=3)
LABEL_NOISE = Table(
    "label_noise",
    "whether the measured operators of a cell add up to its measured latency",
    c.CELL_KEY,
    **c.CELL,
    measured_ms=c.MEASURED,
    operators_ms=positive("measured operators, added up", title="Operators, added"),
    ratio=positive("sum of operators over end to end", digits=3),
    forward_ratio=_ratio("the same for the forward pass", title="Forward", empty="not recorded"),
    backward_ratio=_ratio("the same for the backward pass", title="Backward", empty="no backward pass"),
    consistent=flag("whether every ratio is within 10 % of one"),
)

LABEL_NOISE_MAPE = Table(
    "label_noise_mape",
    "errors with and without the labels whose operators do not add up",
    ("predictor", "device", "mode", "labels"),
    predictor=c.PREDICTOR,
    device=c.DEVICES,
    mode=_MODE,
    labels=text("whether operators add up", values=("consistent", "inconsistent", "unchecked", "all")),
    **c.STATISTICS,
)

SUMMARY_COMPARISON = Table(
    "summary_comparison",
    "figures of the artifact's summary tables, recomputed",
    ("table", "row", "column"),
    table=text("summary table of the artifact"),
    row=text("row of the table"),
    column=text("column of the table"),
    published=number("figure the artifact prints", title="Printed", digits=4, empty="no figure"),
    recomputed=number("the same from labels and predictions", digits=4, empty="no data"),
    equal=flag("whether they agree at the printed precision"),
    difference=number("recomputed less published", digits=4, empty="undefined"),
    cause=prose("why they differ; empty where they agree", empty="not explained"),
)

_error = partial(amount, empty="no data")
GOALS = Table(
    "goals",
    "errors set out to be reached, and what was reached",
    ("group",),
    group=text("cells or operators", title="Cells"),
    n=count("measured cells that both predictors forecast", title="n"),
    theirs_percent=_error("MAPE of the authors' predictor", title="NeuSight (authors)"),
    ours_percent=_error("MAPE of this project's", title="Tilecast"),
    bar_percent=_error("goal; the authors' error where none was set", title="Goal"),
    verdict=text("outcome", values=("met", "missed", "no data")),
)

_theirs = partial(number, unit="%", empty="needs the full artifact")
OWN_GRAPHS = Table(
    "own_graphs",
    "the same forecasts on graphs traced here and on the artifact's",
    MAPE.key,
    **{name: MAPE.columns[name] for name in MAPE.key},
    n=c.N,
    mape_percent=replace(c.MAPE_PERCENT, title="MAPE, traced here"),
    bias_percent=c.BIAS_PERCENT,
    mape_percent_artifact=_theirs("MAPE on the artifact's graphs", title="MAPE, artifact’s graphs", minimum=0),
    bias_percent_artifact=_theirs("bias on the artifact's graphs"),
)

_group = partial(amount, empty="not recorded")
EVALUATIONS = Table(
    "evaluations",
    "evaluations of `tilecast` on held-out data, in order, as docs/evidence/design-log.md records them",
    ("evaluation",),
    evaluation=size("number of the evaluation"),
    design=text("what was evaluated"),
    mape_percent=c.MAPE_PERCENT,
    seen_percent=_group("of GPUs trained on", title="GPUs trained on"),
    unseen_percent=_group("of GPUs not trained on", title="GPUs not trained on"),
    motivated=prose("what it made this project change"),
)
ABLATION = Table(
    "ablation",
    "errors without the constants that were chosen after an evaluation on held-out data",
    ("variant",),
    variant=text("what was forecast with", title="Forecast"),
    basis=text("whether computed in this run or recorded", values=("computed", "recorded")),
    value=text("the constant's value", empty="all"),
    without=text("its value here", empty="as shipped"),
    n=size("cells averaged", title="n"),
    mape_percent=c.MAPE_PERCENT,
    seen_percent=EVALUATIONS.columns["seen_percent"],
    unseen_percent=EVALUATIONS.columns["unseen_percent"],
    h100_percent=_group("of the H100", title="H100"),
    l4_percent=_group("of the L4", title="L4"),
    t4_percent=_group("of the T4", title="T4"),
    p4_percent=_group("of the P4", title="P4"),
)

BASELINES = Table(
    "baselines",
    "forecasts beside simple rivals fitted on the same kernels",
    ("suite", "group", "predictor"),
    suite=text("what is forecast"),
    group=text("cells or kernels"),
    predictor=c.PREDICTOR,
    n=c.N,
    mape_percent=c.MAPE_PERCENT,
    median_percent=c.MEDIAN_PERCENT,
    closer_percent=c.CLOSER_PERCENT,
)

SAME_WEIGHTS = Table(
    "same_weights",
    "the authors' weights, executed here, beside the predictions that they stored",
    c.CELL_KEY,
    **c.CELL,
    stored_ms=positive("the authors' stored prediction", title="Stored"),
    executed_ms=amount("what their weights give here", title="Executed"),
    difference_percent=number("executed over stored", title="Difference"),
)

DONORS = Table(
    "donors",
    "errors on kernels of a GPU left out, by other ways to borrow from the others",
    ("weights", "asked"),
    weights=text("how the other GPUs' experts are weighed", title="Weights"),
    asked=text("on which board they are asked about a kernel"),
    bmm_percent=amount("of batched products", title="Batched matmul"),
    linear_percent=amount("of linear layers", title="Linear"),
    elementwise_percent=amount("of elementwise kernels", title="Elementwise"),
    softmax_percent=amount("of softmax", title="Softmax"),
    norm_percent=amount("of norms", title="Layer norm"),
    mean_percent=amount("mean of the families", title="Mean", digits=2),
)
