"""`tilecast kernel`: latency of one matrix product on a GPU."""

from __future__ import annotations

import argparse
import json
import re

from tilecast.base.errors import InputError
from tilecast.hardware.device_file import load_device
from tilecast.predict.registry import load_predictor

DTYPES = ("fp32", "bf16", "fp16", "fp8", "fp8_block", "nvfp4", "mxfp4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--device", required=True, help="a device file, or H100, B200, ...")
    parser.add_argument("--product", required=True, metavar="MxNxK", help="(M, K) x (K, N): 4096x4096x4096")
    parser.add_argument("--dtype", default="bf16", help="number format: " + ", ".join(DTYPES))
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Forecast and print."""
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", args.product)
    if match is None or "0" in match.groups():
        raise InputError("--product", f"{args.product!r} is no product", "give MxNxK such as 4096x4096x4096")
    if args.dtype not in DTYPES:
        raise InputError("--dtype", f"unknown dtype {args.dtype!r}", f"expected one of {', '.join(DTYPES)}")
    device = load_device(args.device)
    m, n, k = (int(part) for part in match.groups())
    import numpy as np

    from tilecast.predict.half_precision import shipped

    model = shipped()
    measured = "bf16" if args.dtype == "fp16" else args.dtype
    if measured != "fp32" and model.covers(device, measured):
        dims = {name: np.array([value], dtype=float) for name, value in zip("mnk", (m, n, k), strict=True)}
        forecast = {key: values[0] for key, values in model.forecast("gemm", measured, dims, device).items()}
        result = {key: value if isinstance(value, str) else float(value) for key, value in forecast.items()}
    elif args.dtype not in ("fp32", "bf16", "fp16"):
        raise InputError(device.name, f"has no matrix units in {args.dtype}", "choose another format or device")
    else:
        device.check_format(args.dtype)
        import pandas as pd

        sizes = {"family": "linear", "op": "linear", "b": 1, "m": m, "n": n, "k": k, "dtype": args.dtype}
        row = load_predictor("tilecast").predict(pd.DataFrame([sizes]), device).iloc[0]
        result = {key: row[key] for key in ("latency_ms", "low_ms", "high_ms", "bound", "passport")}
    rate = 2e3 * m * n * k / float(result["latency_ms"])
    if args.json:
        print(json.dumps({"device": device.name, "m": m, "n": n, "k": k, "dtype": args.dtype, **result}, indent=2))
        return 0
    print(
        f"{m}x{n}x{k} in {args.dtype} on {device.title}: {result['latency_ms']:.4g} ms, 80 % interval "
        f"{result['low_ms']:.4g} to {result['high_ms']:.4g} ms; {rate / 1e12:.3g} TFLOP/s, bound by "
        f"{result['bound']} [{result['passport']}]"
    )
    return 0
