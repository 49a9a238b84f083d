"""Options of a layout on a system of GPUs, and `tilecast forecast` for one."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from tilecast.base.errors import InputError
from tilecast.base.limits import amount, option
from tilecast.base.paths import PRICES
from tilecast.cli.work import torch_needed, workload
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import Prices, load_prices
from tilecast.hardware.system import load_system, system_names
from tilecast.models.registry import ModelSpec
from tilecast.multigpu.layout import RECOMPUTE, SCHEDULES, Layout, check, from_runs
from tilecast.predict.kernel import Predictor

if TYPE_CHECKING:
    from tilecast.multigpu.step import Planner
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
    group.add_argument(
        "--sequence-parallel", action="store_true", default=None, help="norms on 1/tp of the tokens"
    )
    group.add_argument("--no-overlap", action="store_true", default=None, help="gradients sent after the backward")
    group.add_argument("--fused", action="store_true", default=None, help="elementwise chains run as one kernel")
    group.add_argument(
        "--stages",
        metavar="LAYERS",
        help="layers of each pipeline stage, such as 11,2x13,11 (default: as even as can be)",
    )
    group.add_argument("--timeline", metavar="FILE", help="write the step as a Chrome trace (JSON)")
    group.add_argument(
        "--tokens", type=amount("tokens"), help="training: cost of a run on so many tokens, such as 3e11"
    )
    group.add_argument("--prices", metavar="FILE", help="in place of data/prices.yaml")
    group.add_argument(
        "--serve", choices=("continuous", "static"), nargs="?", const="continuous",
        help="TTFT, TPOT and throughput of every number of requests at once that fits (prompts of --sequence)",
    )  # fmt: skip
    group.add_argument("--output", type=option("output"), help="--serve: tokens of an answer (default: 256)")
    group.add_argument("--ttft-ms", type=amount("ttft-ms"), help="--serve: bound on the time to first token")
    group.add_argument("--tpot-ms", type=amount("tpot-ms"), help="--serve: bound on the time per output token")


_LAYOUT = (*_RANKS, "schedule", "recompute", "zero", "sequence_parallel", "stages")
_SERVING = ("output", "ttft_ms", "tpot_ms")
_OPTIONS = (*_LAYOUT, "no_overlap", "fused", "timeline", "tokens", "prices", "serve", *_SERVING)


def refuse(args: argparse.Namespace) -> None:
    """One line if an option of a layout is given without a system."""
    for name in _OPTIONS:
        if getattr(args, name) is not None:
            given = "--" + name.replace("_", "-")
            raise InputError(given, "needs a system", "add --system, such as --system dgx_h100")


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
        from tilecast.multigpu.step import Planner
        from tilecast.serving.server import Server

        if not args.serve:
            return _step(args, Planner(work, system, device, predictor), layout, prices)
        server = Server(
            spec, system, device, predictor, work.sequence_length, args.output or 256, work.dtype, work.attention,
            work.fused, continuous=args.serve == "continuous",
        )  # fmt: skip
        return _serve(args, server, layout, prices)


def _bounds(args: argparse.Namespace) -> None:
    """One line for numbers that mean nothing, and for options of another kind of forecast."""
    for name in ("tokens", "ttft_ms", "tpot_ms", "output"):
        value = getattr(args, name)
        if value is not None and not (0 < value < 1e18 and math.isfinite(value)):
            raise InputError("--" + name.replace("_", "-"), f"{value:g} is no number above zero")
    if args.tokens is not None and args.mode != "training":
        raise InputError("--tokens", "is of a training run", "add --mode training")
    for name in () if args.serve else _SERVING:
        if getattr(args, name) is not None:
            raise InputError("--" + name.replace("_", "-"), "is of serving", "add --serve")
    if args.serve:
        others = {
            "--mode": args.mode != "inference",
            "--phase": args.phase != "prefill",
            "--batch": args.batch != 1,
        }
        others |= {"--context": bool(args.context), "--timeline": args.timeline is not None}
        for name in (name for name, given in others.items() if given):
            raise InputError(name, "is of one step", "--serve tries every number of requests that fits")


def _step(args: argparse.Namespace, planner: Planner, layout: Layout, prices: Prices) -> int:
    from tilecast.base.files import write_text
    from tilecast.planner.words import as_text, as_values, chrome_trace, costs

    step, work, system = planner.step(layout), planner.work, planner.links.system
    if args.timeline:
        write_text(args.timeline, json.dumps(chrome_trace(step)) + "\n")
    cost = costs(prices, planner.device, step, work, args.tokens)
    names = {"system": system.name, "device": planner.device.name, "predictor": planner.predictor.name}
    values = {**names, **as_values(step, work), "cost": cost}
    print(json.dumps(values, indent=2) if args.json else as_text(step, work, system.title, cost))
    return 0


def _serve(args: argparse.Namespace, server: Server, layout: Layout, prices: Prices) -> int:
    from tilecast.planner.words import serving_text, serving_values

    bounds = {name: getattr(args, name) for name in ("ttft_ms", "tpot_ms") if getattr(args, name) is not None}
    values = serving_values(server, layout, prices, bounds)
    print(json.dumps(values, indent=2) if args.json else serving_text(values))
    return 0 if values["requests"] else 3
