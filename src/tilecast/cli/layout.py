"""Options of a layout on a system of GPUs, and `tilecast forecast` for one."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.limits import amount, option
from tilecast.base.paths import PRICES
from tilecast.cli.words import chrome_trace, costs, serving_text, serving_values, step_text, step_values
from tilecast.cli.work import torch_needed, workload
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import Prices, load_prices
from tilecast.hardware.system import load_system, system_names
from tilecast.models.registry import ModelSpec
from tilecast.multigpu.layout import RECOMPUTE, SCHEDULES, Layout, check, from_runs
from tilecast.multigpu.step import Planner
from tilecast.predict.kernel import Predictor
from tilecast.serving.server import Server

_RANKS = {
    "dp": "data-parallel replicas",
    "tp": "tensor-parallel ranks",
    "pp": "pipeline stages",
    "ep": "expert-parallel ranks, within dp",
    "cp": "context-parallel ranks",
    "microbatch": "sequences a GPU works on at a time (default: all of its replica's)",
    "interleave": "chunks of layers a stage holds, for --schedule interleaved",
}
_LIMITS = {"microbatch": "microbatch", "interleave": "layers"}
_LAYOUT = (*_RANKS, "schedule", "recompute", "zero", "sequence_parallel", "stages")
_SERVING = ("output", "ttft_ms", "tpot_ms")
_OPTIONS = (*_LAYOUT, "no_overlap", "fused", "timeline", "tokens", "prices", "serve", *_SERVING)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; None where one is not given."""
    group = parser.add_argument_group("many GPUs")
    names = ", ".join(system_names())
    group.add_argument("--system", help=f"a system file (YAML), or one of: {names}; --batch is over all GPUs")
    for name, words in _RANKS.items():
        group.add_argument(f"--{name}", type=option(name, _LIMITS.get(name, "gpus")), help=words)
    group.add_argument("--schedule", choices=SCHEDULES, help="of the pipeline (default: 1f1b)")
    group.add_argument("--recompute", choices=RECOMPUTE, help="activations computed again in the backward pass")
    group.add_argument("--zero", type=option("zero", "top"), choices=range(4), help="ZeRO stage; 3 is FSDP")
    for name, words in {
        "--sequence-parallel": "norms on 1/tp of the tokens",
        "--no-overlap": "gradients sent after the backward",
        "--fused": "elementwise chains run as one kernel",
    }.items():
        group.add_argument(name, action="store_true", default=None, help=words)
    words = "layers of each pipeline stage, such as 11,2x13,11 (default: as even as can be)"
    group.add_argument("--stages", metavar="LAYERS", help=words)
    group.add_argument("--timeline", metavar="FILE", help="write the step as a Chrome trace (JSON)")
    words = "training: cost of a run on so many tokens, such as 3e11"
    group.add_argument("--tokens", type=amount("tokens"), help=words)
    group.add_argument("--prices", metavar="FILE", help="in place of data/prices.yaml")
    words = "TTFT, TPOT and throughput of every number of requests at once that fits (prompts of --sequence)"
    group.add_argument("--serve", choices=("continuous", "static"), nargs="?", const="continuous", help=words)
    group.add_argument("--output", type=option("output"), help="--serve: tokens of an answer (default: 256)")
    group.add_argument("--ttft-ms", type=amount("ttft-ms"), help="--serve: bound on the time to first token")
    group.add_argument("--tpot-ms", type=amount("tpot-ms"), help="--serve: bound on the time per output token")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def refuse(args: argparse.Namespace) -> None:
    """One line if an option of a layout is given without a system."""
    for name in _OPTIONS:
        if getattr(args, name) is not None:
            raise InputError(_flag(name), "needs a system", "add --system, such as --system dgx_h100")


def layout_of(args: argparse.Namespace) -> Layout:
    """The layout that the options describe."""
    given: dict[str, Any] = {name: getattr(args, name) for name in _LAYOUT if getattr(args, name) is not None}
    dp = given.get("dp", 1)
    if "microbatch" not in given and dp > 0 and args.batch % dp == 0:
        given["microbatch"] = max(1, args.batch // dp)
    if args.stages is not None:
        given["stages"] = from_runs(args.stages)
    return Layout(**given, overlap=not args.no_overlap)


def run(args: argparse.Namespace, spec: ModelSpec, predictor: Predictor) -> int:
    """Forecast a step on a system, or serving, and print it."""
    system, layout = load_system(args.system), layout_of(args)
    if args.device is None and not system.device:
        raise InputError(args.system, "names no `device`", "add --device")
    device = load_device(args.device or system.device)
    prices = load_prices(args.prices or PRICES)
    _bounds(args)
    work = workload(args, spec, fused=bool(args.fused))
    check(layout, work.architecture, None, None if args.serve else work.batch_size, work.sequence_length)
    with torch_needed(args.command):
        if not args.serve:
            return _step(args, Planner(work, system, device, predictor), layout, prices)
        server = Server(
            spec, system, device, predictor, work.sequence_length, args.output or 256, work.dtype, work.attention,
            work.fused, continuous=args.serve == "continuous",
        )  # fmt: skip
        bounds = {name: getattr(args, name) for name in ("ttft_ms", "tpot_ms") if getattr(args, name) is not None}
        values = serving_values(server, layout, prices, bounds)
    print(json.dumps(values, indent=2) if args.json else serving_text(values))
    return 0 if values["requests"] else 3


def _bounds(args: argparse.Namespace) -> None:
    """One line for numbers that mean nothing, and for options of another kind of forecast."""
    for name in ("tokens", *_SERVING):
        value = getattr(args, name)
        if value is not None and not (0 < value < 1e18 and math.isfinite(value)):
            raise InputError(_flag(name), f"{value:g} is no number above zero")
    if args.tokens is not None and args.mode != "training":
        raise InputError("--tokens", "is of a training run", "add --mode training")
    if not args.serve:
        for name in _SERVING:
            if getattr(args, name) is not None:
                raise InputError(_flag(name), "is of serving", "add --serve")
        return
    usual = {"mode": "inference", "phase": "prefill", "batch": 1, "context": 0, "timeline": None}
    for name, value in usual.items():
        if getattr(args, name) != value:
            raise InputError(_flag(name), "is of one step", "--serve tries every number of requests that fits")


def _step(args: argparse.Namespace, planner: Planner, layout: Layout, prices: Prices) -> int:
    step, work, system = planner.step(layout), planner.work, planner.links.system
    if args.timeline:
        write_text(args.timeline, json.dumps(chrome_trace(step)) + "\n")
    cost = costs(prices, planner.device, step, work, args.tokens)
    names = {"system": system.name, "device": planner.device.name, "predictor": planner.predictor.name}
    values = {**names, **step_values(step, work), "cost": cost}
    print(json.dumps(values, indent=2) if args.json else step_text(step, work, system.title, cost))
    return 0
