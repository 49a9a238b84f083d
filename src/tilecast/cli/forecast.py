"""`tilecast forecast`: latency, memory and bottlenecks of a model on a GPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tilecast.base.errors import InputError
from tilecast.cli import layout, work
from tilecast.models.registry import load_model, model_names
from tilecast.predict.registry import PREDICTORS, load_predictor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--model", required=True, help="a config.json, or one of: " + ", ".join(model_names()))
    parser.add_argument(
        "--device", help="a device file (YAML, or the artifact's JSON), or H100, ...; with --system, its own"
    )
    work.add_arguments(parser)
    parser.add_argument("--predictor", choices=PREDICTORS, default="tilecast")
    parser.add_argument("--weights", metavar="DIR", help="folder of a predictor you trained (tilecast train)")
    scales = "scales measured on it (tilecast measure calibrate)"
    parser.add_argument("--calibration", metavar="FILE", type=Path, help=scales)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    layout.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check what is cheap to check first, trace, forecast, print."""
    work.check(args)
    spec = load_model(args.model)
    if args.system:
        return layout.run(args, spec)
    layout.refuse(args)
    if not args.device:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")
    from tilecast.measure.describe import described

    device = described(args.device)
    device.check_format(args.dtype)
    work.check_step(args, spec)
    predictor = load_predictor(args.predictor, args.weights)
    if args.calibration:
        from tilecast.predict.calibrate import Calibrated, load

        predictor = Calibrated(predictor, load(args.calibration, device.name, args.predictor))
    from tilecast.cli.words import model_text
    from tilecast.predict.model import forecast_model

    result = forecast_model(work.traced(args, spec), predictor, device)
    print(json.dumps(result, indent=2) if args.json else model_text(result, device.title))
    return 0
