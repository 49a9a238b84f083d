"""`tilecast forecast`: latency, memory and bottlenecks of a model on a GPU."""

from __future__ import annotations

import argparse
import json

from tilecast.cli import layout
from tilecast.errors import InputError
from tilecast.hardware.device import load_device
from tilecast.models.registry import load_model, model_names
from tilecast.predict.registry import PREDICTORS, load_predictor
from tilecast.schemas import DTYPE_NAMES, MODES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="a config.json, or one of: " + ", ".join(model_names()))
    parser.add_argument(
        "--device", help="a device file (YAML, or the artifact's JSON), or H100, ...; with --system, its own"
    )
    parser.add_argument("--mode", choices=MODES, default="inference")
    parser.add_argument("--phase", choices=("prefill", "decode"), default="prefill", help="part of inference")
    parser.add_argument("--context", type=int, default=0, help="tokens already cached, for --phase decode")
    parser.add_argument("--sequence", type=int, help="tokens per sequence (default: 1024, or all positions)")
    parser.add_argument("--batch", type=int, default=1, help="sequences per step (default: 1)")
    parser.add_argument("--dtype", default="fp32", help="number format: " + ", ".join(DTYPE_NAMES))
    parser.add_argument("--attention", choices=("eager", "fused"), default="eager")
    parser.add_argument(
        "--optimizer", choices=("sgd", "momentum", "adam", "adamw"), help="add its step to training"
    )
    parser.add_argument("--predictor", choices=PREDICTORS, default="tilecast")
    parser.add_argument("--weights", metavar="DIR", help="folder of a predictor you trained (tilecast train)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    layout.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check what is cheap to check first, trace, forecast, print."""
    if args.dtype not in DTYPE_NAMES:
        raise InputError("--dtype", f"unknown dtype {args.dtype!r}", f"expected one of {', '.join(DTYPE_NAMES)}")
    spec = load_model(args.model)
    if args.system:
        return layout.run(args, spec, load_predictor(args.predictor, args.weights))
    layout.refuse(args)
    if not args.device:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")
    device = load_device(args.device)
    predictor = load_predictor(args.predictor, args.weights)
    try:
        from tilecast.graph.tracer import trace
    except ImportError as error:
        raise InputError("tilecast forecast", f"needs torch ({error})", 'pip install "tilecast[torch]"') from None
    from tilecast.predict.forecast import as_text, forecast_model

    graph = trace(
        spec,
        mode=args.mode,
        phase=args.phase,
        sequence_length=args.sequence,
        batch_size=args.batch,
        context=args.context,
        dtype=args.dtype,
        attention=args.attention,
        optimizer=args.optimizer,
    )
    result = forecast_model(graph, predictor, device)
    print(json.dumps(result, indent=2) if args.json else as_text(result, device.title))
    return 0
