"""`tilecast collective`: how long one collective takes on a described system."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict

from tilecast.base.errors import InputError
from tilecast.hardware.system import load_system
from tilecast.multigpu.collectives import collective

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--op", required=True, help="all_reduce, all_gather, reduce_scatter, ...")
    parser.add_argument("--system", required=True, help="a name of data/systems, or a YAML file")
    parser.add_argument("--gpus", required=True, help="how many, or which: 8 or 0,2,4")
    parser.add_argument("--bytes", required=True, help="size of the buffer: 1048576, 1MiB, 2.5GB")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _gpus(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise InputError("--gpus", f"{text!r} is not understood", "give a number such as 8, or GPUs such as 0,2")
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) > 1:
        return numbers
    if not 1 <= numbers[0] <= 1_000_000:
        raise InputError("--gpus", f"{text} GPUs", "give a number from 1 to 1000000")
    return list(range(numbers[0]))


def _bytes(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d{1,2})?)\s*([A-Za-z]*)", text)
    if match is None or match[2].upper() not in _UNITS:
        raise InputError("--bytes", f"{text!r} is not a size", "give bytes, or a number with kB, MiB, GB, ...")
    return float(match[1]) * _UNITS[match[2].upper()]


def run(args: argparse.Namespace) -> int:
    """Forecast and print."""
    gpus, size = _gpus(args.gpus), _bytes(args.bytes)
    forecast = collective(args.op, load_system(args.system), gpus, size)
    rate = size / forecast.latency_ms * 1e3 if forecast.latency_ms else None
    if args.json:
        request = {"op": args.op, "system": args.system, "gpus": gpus, "bytes": size}
        print(json.dumps({**request, **asdict(forecast), "algorithm_bytes_per_s": rate}))
        return 0
    print(
        f"{args.op} of {size:.0f} bytes among {len(gpus)} GPUs of {args.system}: {forecast.latency_ms:.4g} ms "
        f"({forecast.low_ms:.4g} to {forecast.high_ms:.4g}), {forecast.algorithm}, {forecast.protocol}; "
        f"{forecast.basis}, curves of {forecast.reference}"
    )
    return 0
