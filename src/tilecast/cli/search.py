"""`tilecast search`: the best layout of a model on a system of GPUs, and why the others are not."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tilecast.base.errors import InputError
from tilecast.base.limits import option
from tilecast.base.paths import PRICES
from tilecast.base.progress import doing
from tilecast.cli import work as of_work
from tilecast.cli.text_table import text_table
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import load_system
from tilecast.models.choices import ATTENTION, OPTIMIZER_STATES
from tilecast.models.registry import load_model, model_names
from tilecast.models.workload import Workload
from tilecast.planner import search as searching
from tilecast.planner.search import Candidate, Found, Space
from tilecast.predict.registry import PREDICTORS, load_predictor
from tilecast.serving.engines import ENGINES, engine
from tilecast.tables.columns import DTYPE_NAMES

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="a config.json, or one of: " + ", ".join(model_names()))
    parser.add_argument("--system", required=True, help="a system file (YAML), or a name of data/systems")
    parser.add_argument("--gpus", type=option("gpus"), required=True, help="GPUs to use, all of them")
    parser.add_argument("--objective", choices=OBJECTIVES, default="step_time")
    words = "bounds: memory_gb, step_ms, ttft_ms, tpot_ms, usd_per_hour at most, tokens_per_s at least"
    parser.add_argument("--constraints", nargs="+", default=[], metavar="NAME=NUMBER", help=words)
    words = "default: inference for ttft, training for the others"
    parser.add_argument("--mode", choices=("training", "inference"), help=words)
    words = "training: sequences of one step over all GPUs (default: 512)"
    parser.add_argument("--batch", type=option("batch"), help=words)
    words = "tokens per sequence, or of a prompt"
    parser.add_argument("--sequence", type=option("sequence"), default=2048, help=words)
    words = "inference: tokens of an answer (default: 256)"
    parser.add_argument("--output", type=option("output"), default=256, help=words)
    parser.add_argument("--engine", help="inference: how passes are filled: " + ", ".join(ENGINES))
    parser.add_argument("--dtype", default="bf16", help="number format: " + ", ".join(DTYPE_NAMES))
    parser.add_argument("--attention", choices=ATTENTION, help="training (default: fused)")
    parser.add_argument("--optimizer", choices=OPTIMIZER_STATES, help="training (default: adam)")
    parser.add_argument("--device", help="a device file, in place of the system's")
    parser.add_argument("--predictor", choices=PREDICTORS, default="tilecast")
    parser.add_argument("--weights", metavar="DIR", help="folder of a predictor you trained (tilecast train)")
    parser.add_argument("--prices", metavar="FILE", help="in place of data/prices.yaml")
    parser.add_argument("--price", choices=("on_demand", "reserved"), default="on_demand")
    words = "such as tp=8; may be repeated"
    parser.add_argument("--why-not", action="append", default=[], metavar="PART=VALUE", help=words)
    words = "training: context-parallel ranks to try, as 1,2,4 (default: all that leave a rank 2,048 tokens)"
    parser.add_argument("--cp", metavar="RANKS", help=words)
    parser.add_argument("--top", type=option("top"), default=10, help="layouts listed and explained (default: 10)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Check, try every layout, print the best and what is wrong with the others."""
    constraints = searching.parse_constraints(args.constraints)
    questions = [searching.parse_part(text) for text in args.why_not]
    for name in ("gpus", "top", "output", "batch"):
        if (number := getattr(args, name)) is not None and number < 1:
            raise InputError(f"--{name}", f"{number} is too small", "expected at least 1")
    mode = args.mode or ("inference" if args.objective == "ttft" else "training")
    if (mode, args.objective) in (("training", "ttft"), ("inference", "step_time")):
        other = "tokens_per_dollar or " + ("ttft" if mode == "inference" else "step_time")
        raise InputError("--objective", f"{args.objective} is no figure of {mode}", f"expected {other}")
    if mode == "inference" and args.batch is not None:
        raise InputError("--batch", "is of training", "the search chooses how many requests are served at once")
    for name in ("attention", "optimizer") if mode == "inference" else ():
        if getattr(args, name) is not None:
            raise InputError(
                f"--{name}", "is of training", "serving has attention in one kernel, and no optimizer"
            )
    if mode == "training" and args.engine is not None:
        raise InputError("--engine", "is of inference", "add --mode inference")
    context = None if args.cp is None else _ranks(args.cp)
    if mode == "inference" and context is not None:
        raise InputError("--cp", "is of training", "a request's cache is not divided over GPUs by tokens here")
    judge, space = _task(args, mode, context)
    start = time.process_time()
    with doing(f"searching layouts of {args.model} on {args.gpus:,} GPUs"):
        found = judge.search(space, args.gpus, args.objective, constraints)
    seconds = time.process_time() - start
    stages = {"stages": "even, and spread by time"} if mode == "training" else {}
    result = _result(args, mode, judge, found, questions) | {
        "space": searching.space_words(space) | stages,
        "seconds": round(seconds, 3),
        "layouts_per_s": round(found.tried / seconds) if seconds else None,
    }
    print(json.dumps(result, indent=2) if args.json else _text(result))
    return 0 if found.ranked else 3


def _ranks(text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers, each once, ascending."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", part) and int(part) > 0 for part in parts):
        raise InputError("--cp", f"{text!r} is no list of ranks", "give numbers such as 1,2,4")
    return tuple(sorted({int(part) for part in parts}))


def _task(args: argparse.Namespace, mode: str, context: tuple[int, ...] | None) -> tuple[Judge, Space]:
    """The layouts' evaluation that the options ask for, and the space to search."""
    of_work.check(args)
    spec, system = load_model(args.model), load_system(args.system)
    device = load_device(args.device or system.device)
    prices = load_prices(args.prices or PRICES)
    if args.gpus > system.gpus:
        raise InputError("--gpus", f"{args.gpus} are more than the {system.gpus} of {system.name}")
    if mode == "inference":
        if args.predictor != "tilecast" or args.weights:
            raise InputError("--predictor", "serving is forecast by tilecast's own weights alone", "leave it out")
        serves, dtype = engine(args.engine or "vllm"), "bf16" if args.dtype == "fp16" else args.dtype
        work = Workload(spec, 1, args.sequence, dtype="bf16", attention="fused", fused=True)
        from tilecast.planner.candidates import ServingLayouts
        from tilecast.predict.half_precision import shipped
        from tilecast.serving.deployment import Deployment, check
        from tilecast.serving.load import Lengths, Load
        from tilecast.serving.passes import Formats

        formats = Formats(dtype, dtype, "bf16")
        server = Deployment(
            work.architecture, device, system, serves.batching, formats, memory_share=serves.memory_share
        )
        check(server, shipped())
        load = Load(Lengths(args.sequence), Lengths(args.output))
        return ServingLayouts(work, server, load, prices, args.objective, args.price), searching.SERVING
    batch = 512 if args.batch is None else args.batch
    alike = {"dtype": args.dtype, "attention": args.attention or "fused", "optimizer": args.optimizer or "adam"}
    work = Workload(spec, batch, args.sequence, mode, fused=True, **alike)
    space = searching.training_space(work)
    space = space if context is None else replace(space, cp=context)
    predictor = load_predictor(args.predictor, args.weights)
    from tilecast.multigpu.step import StepForecaster
    from tilecast.planner.candidates import TrainingLayouts

    return TrainingLayouts(StepForecaster(work, system, device, predictor), prices, args.price), space


def _result(
    args: argparse.Namespace, mode: str, judge: Judge, found: Found, questions: list[tuple[str, object]]
) -> dict[str, Any]:
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
        reasons = (searching.explain(one.layout, best.layout, judge.parts) for one in found.ranked[1 : args.top])
        top = [
            _row(place, one) | {"why": why}
            for place, (one, why) in enumerate(zip(found.ranked, ["", *reasons]), 1)
        ]
    return {
        "model": args.model,
        "system": args.system,
        "gpus": args.gpus,
        "mode": mode,
        "objective": args.objective,
        "constraints": args.constraints,
        "tried": found.tried,
        "feasible": len(found.ranked),
        "top": top,
        "best_parts_ms": {} if best is None else dict(judge.parts(best.layout)),
        "pareto": {"figures": [time_name, beside], "layouts": [_row(None, point) for point in front]},
        "infeasible": [{"layouts": count, "such_as": words} for count, words in searching.reasons(found)],
        "why_not": why_not,
    }


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
        spent = (f"{name} {ms:.4g} ms" for name, ms in result["best_parts_ms"].items() if ms > 1e-6)
        lines += [f"best by {OBJECTIVES[result['objective']]}", *_table(result["top"]), ""]
        lines += ["the best one's time: " + ", ".join(spent), ""]
        lines += ["what the others do otherwise, and what it costs"]
        lines += [f"{row['place']:4}  {row['why']}" for row in result["top"][1:]] + [""]
        if front := result["pareto"]["layouts"]:
            names = " and ".join(_FIGURES[name][0] for name in result["pareto"]["figures"])
            more = f", {SHOWN} of {len(front)}" if len(front) > SHOWN else ""
            lines += [f"Pareto front of {names}{more}", *_table(_spread(front)), ""]
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
