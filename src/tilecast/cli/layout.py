"""Options of a layout on a system of GPUs, and `tilecast forecast` for one."""

from __future__ import annotations

import argparse
import json

from tilecast.errors import InputError
from tilecast.hardware.device import load_device
from tilecast.hardware.system import load_system, system_names
from tilecast.models.registry import ModelSpec
from tilecast.parallel.layout import RECOMPUTE, SCHEDULES, Layout, Work, check
from tilecast.predict.base import Predictor

_RANKS = {
    "dp": "data-parallel replicas",
    "tp": "tensor-parallel ranks",
    "pp": "pipeline stages",
    "ep": "expert-parallel ranks, within dp",
    "cp": "context-parallel ranks",
    "microbatch": "sequences a GPU works on at a time (default: all of its replica's)",
    "interleave": "chunks of layers a stage holds, for --schedule interleaved",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; None where one is not given."""
    group = parser.add_argument_group("many GPUs")
    names = ", ".join(system_names())
    group.add_argument("--system", help=f"a system file (YAML), or one of: {names}; --batch is over all GPUs")
    for name, words in _RANKS.items():
        group.add_argument(f"--{name}", type=int, help=words)
    group.add_argument("--schedule", choices=SCHEDULES, help="of the pipeline (default: 1f1b)")
    group.add_argument("--recompute", choices=RECOMPUTE, help="activations computed again in the backward pass")
    group.add_argument("--zero", type=int, choices=range(4), help="ZeRO stage; 3 is FSDP")
    group.add_argument(
        "--sequence-parallel", action="store_true", default=None, help="norms on 1/tp of the tokens"
    )
    group.add_argument("--no-overlap", action="store_true", default=None, help="gradients sent after the backward")
    group.add_argument("--fused", action="store_true", default=None, help="elementwise chains run as one kernel")
    group.add_argument("--timeline", metavar="FILE", help="write the step as a Chrome trace (JSON)")


_OPTIONS = (*_RANKS, "schedule", "recompute", "zero", "sequence_parallel", "no_overlap", "fused", "timeline")


def refuse(args: argparse.Namespace) -> None:
    """One line if an option of a layout is given without a system."""
    for name in _OPTIONS:
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            raise InputError(option, "needs a system", "add --system, such as --system dgx_h100")


def layout_of(args: argparse.Namespace) -> Layout:
    """The layout that the options describe."""
    given = {name: getattr(args, name) for name in _OPTIONS[:-3] if getattr(args, name) is not None}
    dp = given.get("dp", 1)
    if "microbatch" not in given and dp > 0 and args.batch % dp == 0:
        given["microbatch"] = max(1, args.batch // dp)
    return Layout(**given, overlap=not args.no_overlap)


def run(args: argparse.Namespace, spec: ModelSpec, predictor: Predictor) -> int:
    """Forecast a step on a system and print it."""
    system, layout = load_system(args.system), layout_of(args)
    if args.device is None and not system.device:
        raise InputError(args.system, "names no `device`", "add --device")
    device = load_device(args.device or system.device)
    sequence = args.sequence or int(
        spec.values.get("max_position_embeddings", spec.values.get("n_positions", 1024))
    )
    work = Work(
        spec=spec,
        batch=args.batch,
        sequence=args.sequence or min(sequence, 1024),
        mode=args.mode,
        phase=args.phase,
        context=args.context,
        dtype=args.dtype,
        attention=args.attention,
        optimizer=args.optimizer,
        fused=bool(args.fused),
    )
    check(layout, work.stack, None, work.batch, work.sequence)
    try:
        from tilecast.parallel.step import Planner

        planner = Planner(work, system, device, predictor)
        step = planner.step(layout)
    except ImportError as error:
        raise InputError("tilecast forecast", f"needs torch ({error})", 'pip install "tilecast[torch]"') from None
    from tilecast.files import write_text
    from tilecast.parallel.describe import as_text, as_values, chrome_trace

    if args.timeline:
        write_text(args.timeline, json.dumps(chrome_trace(step)) + "\n")
    values = {"system": system.name, "device": device.name, "predictor": predictor.name, **as_values(step, work)}
    print(json.dumps(values, indent=2) if args.json else as_text(step, work, system.title))
    return 0
