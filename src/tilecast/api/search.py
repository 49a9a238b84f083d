"""The best layout of a model on a system of GPUs, and why the others are not."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tilecast.api import work as asked
from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.text import short, text_table
from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.base.paths import PRICES
from tilecast.base.progress import doing
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.choices import PRODUCTS
from tilecast.models.registry import load_model
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.planner import search as searching
from tilecast.planner.search import Candidate, Found, Space
from tilecast.predict.registry import load_predictor

if TYPE_CHECKING:
    from tilecast.planner.candidates import Judge

OBJECTIVES = {"step_time": "step time", "tokens_per_dollar": "tokens per dollar", "ttft": "time to first token"}
SHOWN = 5  # reasons, and points of the front
_FIGURES = {  # figure -> heading, format
    "step_ms": ("step ms", ",.1f"),
    "ttft_ms": ("TTFT ms", ",.1f"),
    "tpot_ms": ("TPOT ms", ",.2f"),
    "tokens_per_s": ("tokens/s", ",.0f"),
    "memory_gb": ("memory GB", ".1f"),
    "usd_per_hour": ("$/hour", ",.2f"),
    "usd_per_million_tokens": ("$/1M tokens", ",.4g"),
}


class Search(Answer):
    """Layouts by an objective, and what is wrong with the others."""

    schema = "tilecast.search/1"

    @property
    def fits(self) -> bool:
        """Whether any layout can run within the bounds."""
        return bool(self.values["top"])

    @property
    def best(self) -> dict[str, Any] | None:
        """The best layout: its label and figures."""
        return self.values["top"][0] if self.fits else None

    def rows(self) -> list[dict[str, Any]]:
        """The best layouts in order."""
        return list(self.values["top"])

    def text(self) -> str:
        """For a reader."""
        return _text(self.values)


@question
def search(
    model: asked.Model,
    system: Annotated[str, Option("a system file (YAML), or a name of `tilecast list systems`")],
    gpus: Annotated[int, Option("GPUs to use, all of them", "gpus")],
    *,
    objective: Annotated[
        Literal["step_time", "tokens_per_dollar", "ttft"] | None,
        Option("what is best (default: step_time of training, tokens_per_dollar of inference)"),
    ] = None,
    constraints: Annotated[
        list[str] | None,
        Option(
            "bounds: memory_gb, step_ms, ttft_ms, tpot_ms, usd_per_hour at most, tokens_per_s at least",
            metavar="NAME=NUMBER",
            several="+",
        ),
    ] = None,
    mode: Annotated[
        Literal["training", "inference"] | None, Option("default: inference for ttft, training for the others")
    ] = None,
    batch: Annotated[
        int | None, Option("training: sequences of one step over all GPUs (default: 512)", "batch")
    ] = None,
    sequence: Annotated[int, Option("tokens per sequence, or of a prompt", "sequence")] = 2048,
    output: Annotated[int, Option("inference: tokens of an answer", "output")] = 256,
    engine: Annotated[str | None, Option("inference: how passes are filled: vllm, sglang, trtllm")] = None,
    dtype: Annotated[
        Literal["fp32", "tf32", "fp16", "bf16", "fp8", "fp8_block", "nvfp4"],
        Option("number format; below 16 bits of inference"),
    ] = "bf16",
    moe_dtype: Annotated[
        Literal["bf16", "fp8", "fp8_block", "nvfp4", "mxfp4"] | None,
        Option("inference: of experts (default: --dtype)"),
    ] = None,
    weight_dtype: asked.WeightFormat = None,
    kv_dtype: asked.CacheFormat = None,
    attention: Annotated[Literal["eager", "fused"] | None, Option("training (default: fused)")] = None,
    optimizer: Annotated[
        Literal["sgd", "momentum", "adam", "adamw"] | None, Option("training (default: adam)")
    ] = None,
    device: asked.Gpu = None,
    predictor: asked.Forecaster = "tilecast",
    weights: asked.Weights = None,
    prices: asked.PriceFile = None,
    price: Annotated[Literal["on_demand", "reserved"], Option("which price counts")] = "on_demand",
    why_not: Annotated[
        list[str] | None, Option("such as tp=8; may be repeated", metavar="PART=VALUE", several="append")
    ] = None,
    cp: Annotated[
        str | None,
        Option(
            "training: context-parallel ranks to try, as 1,2,4 (default: all that leave a rank 2,048 tokens)",
            metavar="RANKS",
        ),
    ] = None,
    top: Annotated[int, Option("layouts listed and explained", "top")] = 10,
) -> Search:
    """The best layout of a model on a system of GPUs, and why the others are not."""
    given = dict(locals())
    bounds = searching.parse_constraints(constraints or [])
    questions = [searching.parse_part(text) for text in why_not or []]
    given["mode"] = mode = mode or ("inference" if objective == "ttft" else "training")
    given["objective"] = objective = objective or ("step_time" if mode == "training" else "tokens_per_dollar")
    if (mode, objective) in (("training", "ttft"), ("inference", "step_time")):
        other = "tokens_per_dollar or " + ("ttft" if mode == "inference" else "step_time")
        raise InputError("--objective", f"{objective} is no figure of {mode}", f"expected {other}")
    if mode == "inference" and batch is not None:
        raise InputError("--batch", "is of training", "the search chooses how many requests are served at once")
    for name in ("attention", "optimizer") if mode == "inference" else ():
        if given[name] is not None:
            raise InputError(
                f"--{name}", "is of training", "serving has attention in one kernel, and no optimizer"
            )
    for name in ("engine", "moe_dtype", "weight_dtype", "kv_dtype") if mode == "training" else ():
        if given[name] is not None:
            raise InputError("--" + name.replace("_", "-"), "is of inference", "add --mode inference")
    if mode == "training" and dtype in PRODUCTS:
        raise InputError("--dtype", f"{dtype} is of inference", "train in bf16, or add --mode inference")
    context = None if cp is None else _ranks(cp)
    if mode == "inference" and context is not None:
        raise InputError("--cp", "is of training", "a request's cache is not divided over GPUs by tokens here")
    judge, space = _task(given, context)
    start = time.process_time()
    with doing(f"searching layouts of {model} on {gpus:,} GPUs"):
        found = judge.search(space, gpus, objective, bounds)
    seconds = time.process_time() - start
    stages = {"stages": "even, and spread by time"} if mode == "training" else {}
    return Search(
        _result(given, judge, found, questions)
        | {
            "space": searching.space_words(space) | stages,
            "seconds": round(seconds, 3),
            "layouts_per_s": round(found.tried / seconds) if seconds else None,
        }
    )


def _ranks(text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers, each once, ascending."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", part) and int(part) > 0 for part in parts):
        raise InputError("--cp", f"{shown(text)} is no list of ranks", "give numbers such as 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


def _task(given: dict[str, Any], context: tuple[int, ...] | None) -> tuple[Judge, Space]:
    """The layouts' evaluation that the options ask for, and the space to search."""
    dtype, objective, price = given["dtype"], given["objective"], given["price"]
    spec, system = load_model(given["model"]), load_system(given["system"])
    device = load_device(given["device"] or system.device)
    prices = load_prices(given["prices"] or PRICES)
    if given["gpus"] > system.gpus:
        raise InputError("--gpus", f"{given['gpus']} are more than the {system.gpus} of {system.name}")
    if given["mode"] == "inference":
        if given["predictor"] != "tilecast" or given["weights"]:
            raise InputError("--predictor", "serving is forecast by tilecast's own weights alone", "leave it out")
        from tilecast.serving.engines import engine as load_engine

        serves, dtype = load_engine(given["engine"] or "vllm"), "bf16" if dtype == "fp16" else dtype
        work = Workload(spec, 1, given["sequence"], dtype="bf16", attention="fused", fused=True)
        from tilecast.planner.candidates import ServingLayouts
        from tilecast.predict.half_precision import shipped
        from tilecast.serving.deployment import Deployment, check
        from tilecast.serving.load import Lengths, Load
        from tilecast.serving.passes import Formats

        if given["moe_dtype"] and not work.architecture.experts:
            raise InputError("--moe-dtype", f"{spec.name} has no experts", "leave it out")
        formats = Formats(dtype, given["moe_dtype"] or dtype, given["kv_dtype"] or "bf16")
        formats = formats._replace(weights=given["weight_dtype"] or "")
        server = Deployment(
            work.architecture, device, system, serves.batching, formats, memory_share=serves.memory_share
        )
        check(server, shipped())
        load = Load(Lengths(given["sequence"]), Lengths(given["output"]))
        return ServingLayouts(work, server, load, prices, objective, price), searching.SERVING
    attention, optimizer = given["attention"] or "fused", given["optimizer"] or "adam"
    batch = 512 if given["batch"] is None else given["batch"]
    work = Workload(
        spec, batch, given["sequence"], "training",
        dtype=dtype, attention=attention, optimizer=optimizer, fused=True,
    )  # fmt: skip
    space = searching.training_space(work)
    space = space if context is None else replace(space, cp=context)
    predictor = load_predictor(given["predictor"], given["weights"])
    from tilecast.multigpu.step import StepForecaster
    from tilecast.planner.candidates import TrainingLayouts

    return TrainingLayouts(StepForecaster(work, system, device, predictor), prices, price), space


def _result(
    given: dict[str, Any], judge: Judge, found: Found, questions: list[tuple[str, object]]
) -> dict[str, Any]:
    mode = given["mode"]
    best = found.ranked[0] if found.ranked else None
    time_name, beside = "tpot_ms", "usd_per_million_tokens"
    if mode == "training":
        time_name, beside = "step_ms", "memory_gb"
    top, front, why_not = [], [], []
    if best is not None:
        others = {layout.layout.tp for layout in (*found.ranked, *found.infeasible)} - {best.layout.tp}
        questions = questions or [("tp", ranks) for ranks in sorted(others)]
        why_not = [searching.why_not(found, *question, judge.parts) for question in questions]
        if beside in best.figures:
            front = searching.pareto(found.ranked, time_name, beside)
        rest = found.ranked[1 : given["top"]]
        reasons = (searching.explain(one.layout, best.layout, judge.parts) for one in rest)
        top = [
            _row(place, one) | {"why": why}
            for place, (one, why) in enumerate(zip(found.ranked, ["", *reasons]), 1)
        ]
    return {
        **{name: given[name] for name in ("model", "system", "gpus", "mode", "objective")},
        "constraints": given["constraints"] or [],
        "tried": found.tried,
        "feasible": len(found.ranked),
        "top": top,
        "best_parts_ms": {} if best is None else dict(judge.parts(best.layout)),
        "pareto": {"figures": [time_name, beside], "layouts": [_row(None, point) for point in front]},
        "infeasible": [{"layouts": count, "such_as": words} for count, words in searching.reasons(found)],
        "why_not": why_not,
        "launch": {} if best is None or mode == "inference" else _launch(best.layout, given),
    }


def _launch(layout: Layout, given: dict[str, Any]) -> dict[str, str]:
    """The arguments of frameworks that can express a training layout."""
    from tilecast.planner.launch import training

    found = training(layout, 512 if given["batch"] is None else given["batch"], given["sequence"])
    return {name: words for name, words in found.items() if words}


def _row(place: int | None, candidate: Candidate) -> dict[str, Any]:
    return {"place": place, "layout": candidate.layout.label, **candidate.figures}


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['model']} on {result['gpus']:,} GPUs of {result['system']}, {result['mode']}: "
        f"{result['tried']:,} layouts tried in {result['seconds']:.1f} s of processor time "
        f"({result['layouts_per_s'] or 0:,}/s), {result['feasible']:,} can run",
        "tried     " + "; ".join(f"{name.replace('_', ' ')} {words}" for name, words in result["space"].items()),
        "",
    ]
    if result["top"]:
        spent = (f"{name} {short(ms)} ms" for name, ms in result["best_parts_ms"].items() if ms > 1e-6)
        lines += [f"best by {OBJECTIVES[result['objective']]}", *_table(result["top"]), ""]
        lines += ["the best one's time: " + ", ".join(spent), ""]
        lines += ["what the others do otherwise, and what it costs"]
        lines += [f"{row['place']:4}  {row['why']}" for row in result["top"][1:]] + [""]
        if front := result["pareto"]["layouts"]:
            names = " and ".join(_FIGURES[name][0] for name in result["pareto"]["figures"])
            more = f", {SHOWN} of {len(front)}" if len(front) > SHOWN else ""
            lines += [f"Pareto front of {names}{more}", *_table(_spread(front)), ""]
        if result["launch"]:
            words = (f"      {name}: {arguments}" for name, arguments in result["launch"].items())
            lines += ["launch arguments of the best one", *words, ""]
        lines += ["why not", *(f"      {words}" for words in result["why_not"]), ""]
    if result["infeasible"]:
        lines += ["cannot run"]
        lines += [f"{row['layouts']:8,}  such as: {row['such_as']}" for row in result["infeasible"][:SHOWN]]
        rest = result["infeasible"][SHOWN:]
        lines += [f"{sum(row['layouts'] for row in rest):8,}  for {len(rest)} other reasons"] if rest else []
    return "\n".join(lines).rstrip()


def _spread(front: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most SHOWN points, both ends among them."""
    if len(front) <= SHOWN:
        return front
    return [front[round(place * (len(front) - 1) / (SHOWN - 1))] for place in range(SHOWN)]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    shown = {name: figure for name, figure in _FIGURES.items() if name in rows[0]}
    cells = (
        [str(row["place"] or ""), row["layout"], *(f"{row[name]:{form}}" for name, (_, form) in shown.items())]
        for row in rows
    )
    return text_table({"": ">4", "layout": "<", **{head: ">" for head, _ in shown.values()}}, cells, gap="  ")
