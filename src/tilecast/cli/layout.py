"""Options of a layout on a system of GPUs, and `tilecast forecast` for one."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.limits import amount, option
from tilecast.base.paths import PRICES
from tilecast.cli.work import torch_needed, workload
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import Prices, load_prices
from tilecast.hardware.system import load_system, system_names
from tilecast.models.registry import ModelSpec
from tilecast.multigpu.layout import RECOMPUTE, SCHEDULES, Layout, check, from_runs
from tilecast.predict.registry import load_predictor

if TYPE_CHECKING:
    from tilecast.multigpu.step import StepForecaster

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
_OPTIONS = (*_LAYOUT, "no_overlap", "fused", "timeline", "tokens", "prices")


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
    group.add_argument("--serve", action="store_true", help="requests over time: the same as `tilecast serve`")


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


def run(args: argparse.Namespace, spec: ModelSpec) -> int:
    """Check what is asked, forecast a step on a system and print it."""
    system, layout = load_system(args.system), layout_of(args)
    if args.device is None and not system.device:
        raise InputError(args.system, "names no `device`", "add --device")
    device = load_device(args.device or system.device)
    prices = load_prices(args.prices or PRICES)
    _bounds(args)
    work = workload(args, spec, fused=bool(args.fused))
    check(layout, work.architecture, None, work.batch_size, work.sequence_length)
    predictor = load_predictor(args.predictor, args.weights)
    with torch_needed(args.command):
        from tilecast.multigpu.step import StepForecaster

        return _step(args, StepForecaster(work, system, device, predictor), layout, prices)


def _bounds(args: argparse.Namespace) -> None:
    """One line for a number of tokens that means nothing."""
    if args.tokens is not None and not (0 < args.tokens < 1e18 and math.isfinite(args.tokens)):
        raise InputError("--tokens", f"{args.tokens:g} is no number above zero")
    if args.tokens is not None and args.mode != "training":
        raise InputError("--tokens", "is of a training run", "add --mode training")


def _step(args: argparse.Namespace, forecaster: StepForecaster, layout: Layout, prices: Prices) -> int:
    from tilecast.cli.words import chrome_trace, costs, step_text, step_values

    step, work, system = forecaster.step(layout), forecaster.work, forecaster.links.system
    if args.timeline:
        write_text(args.timeline, json.dumps(chrome_trace(step)) + "\n")
    cost = costs(prices, forecaster.device, step, work, args.tokens)
    names = {"system": system.name, "device": forecaster.device.name, "predictor": forecaster.predictor.name}
    values = {**names, **step_values(step, work), "cost": cost}
    print(json.dumps(values, indent=2) if args.json else step_text(step, work, system.title, cost))
    return 0
