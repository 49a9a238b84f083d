"""Latency of one matrix product on a GPU."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from tilecast.api.answer import Timed
from tilecast.api.options import Option, question
from tilecast.api.text import short
from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.hardware.device_file import load_device
from tilecast.predict.registry import load_predictor

Format = Literal["fp32", "bf16", "fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"]


class Kernel(Timed):
    """The time of one kernel."""

    schema = "tilecast.kernel/1"

    def text(self) -> str:
        """One line."""
        found = self.values
        return (
            f"{found['kernel']} in {found['dtype']} on {found['title']}: {short(found['latency_ms'])} ms, "
            f"80 % interval {short(found['low_ms'])} to {short(found['high_ms'])} ms; "
            f"{short(found['flops_per_s'] / 1e12, 3)} TFLOP/s, bound by {found['bound']} [{found['passport']}]"
        )


@question
def kernel(
    device: Annotated[str, Option("a device file, or H100, B200, ... (`tilecast list devices`)")],
    product: Annotated[str, Option("(M, K) x (K, N): 4096x4096x4096", metavar="MxNxK")],
    dtype: Annotated[Format, Option("number format")] = "bf16",
) -> Kernel:
    """Latency of one matrix product on a GPU."""
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})x(\d{1,9})", product.lower())
    if match is None or "0" in match.groups():
        raise InputError("--product", f"{shown(product)} is no product", "give MxNxK such as 4096x4096x4096")
    gpu = load_device(device)
    m, n, k = (int(part) for part in match.groups())
    import numpy as np

    from tilecast.predict.half_precision import shipped

    model = shipped()
    measured = "bf16" if dtype == "fp16" else dtype
    if measured != "fp32" and model.covers(gpu, measured):
        dims = {name: np.array([value], dtype=float) for name, value in zip("mnk", (m, n, k), strict=True)}
        forecast = {key: values[0] for key, values in model.forecast("gemm", measured, dims, gpu).items()}
        result = {key: value if isinstance(value, str) else float(value) for key, value in forecast.items()}
    elif dtype not in ("fp32", "bf16", "fp16"):
        raise InputError(gpu.name, f"has no matrix units in {dtype}", "choose another format or device")
    else:
        gpu.check_format(dtype)
        import pandas as pd

        sizes = {"family": "linear", "op": "linear", "b": 1, "m": m, "n": n, "k": k, "dtype": dtype}
        row = load_predictor("tilecast").predict(pd.DataFrame([sizes]), gpu).iloc[0]
        result = {key: row[key] for key in ("latency_ms", "low_ms", "high_ms", "bound", "passport")}
    rate = 2e3 * m * n * k / float(result["latency_ms"])
    names = {"kernel": f"product {m}x{n}x{k}", "device": gpu.name, "title": gpu.title, "dtype": dtype}
    return Kernel({**names, "m": m, "n": n, "k": k, **result, "flops_per_s": rate})
