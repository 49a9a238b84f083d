"""Latency of one kernel on a GPU: a product, attention, experts, a norm, an elementwise one, quantisation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from tilecast.api.answer import Timed
from tilecast.api.options import Option, question
from tilecast.api.text import short
from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import load_device
from tilecast.predict.registry import load_predictor

Format = Literal["fp32", "bf16", "fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"]
_NAMES = {
    "product": "MxNxK", "attention": "HEADSxTOKENSxWIDTH", "experts": "TOKENSxHIDDENxWIDTHxEXPERTSxCHOSEN",
    "norm": "ROWSxWIDTH", "elementwise": "ROWSxWIDTH", "quantization": "ROWSxWIDTH",
}  # fmt: skip
_OPS = {"norm": "ln", "elementwise": "add"}


class Kernel(Timed):
    """The time of one kernel."""

    schema = "tilecast.kernel/1"

    def text(self) -> str:
        """One line, and one of the same product with its activations narrowed."""
        found = self.values
        rate = f"{short(found['flops_per_s'] / 1e12, 3)} TFLOP/s, " if found["flops_per_s"] else ""
        line = (
            f"{found['kernel']} in {found['dtype']} on {found['title']}: {short(found['latency_ms'])} ms, "
            f"80 % interval {short(found['low_ms'])} to {short(found['high_ms'])} ms; "
            f"{rate}bound by {found['bound']} [{found['passport']}]"
        )
        if found["other"]:
            other = found["other"]
            line += f"\n{other['words']}: {short(other['latency_ms'])} ms"
        return line


@question
def kernel(
    device: Annotated[str, Option("a device file, or H100, B200, ... (`tilecast list devices`)")],
    product: Annotated[str | None, Option("(M, K) x (K, N): 4096x4096x4096", metavar="MxNxK")] = None,
    *,
    attention: Annotated[
        str | None, Option("causal, of a prompt; with --context a decode step", metavar="HEADSxTOKENSxWIDTH")
    ] = None,
    experts: Annotated[
        str | None,
        Option(
            "a layer's grouped products, gate and up, then down: 64x7168x2048x256x8",
            metavar="TOKENSxHIDDENxWIDTHxEXPERTSxCHOSEN",
        ),
    ] = None,
    norm: Annotated[str | None, Option("of rows", metavar="ROWSxWIDTH")] = None,
    elementwise: Annotated[str | None, Option("a sum of two tensors", metavar="ROWSxWIDTH")] = None,
    quantization: Annotated[
        str | None, Option("activations into fp8, a scale a row, by a kernel of its own", metavar="ROWSxWIDTH")
    ] = None,
    dtype: Annotated[Format, Option("number format; of attention's cache in a decode step")] = "bf16",
    quantize: Annotated[bool, Option("narrow formats: with the kernel that narrows the activations")] = False,
    context: Annotated[int | None, Option("attention: tokens in the cache, one query each", "context")] = None,
    kv_heads: Annotated[
        int | None, Option("attention: key-value heads (default: as many as heads)", "heads")
    ] = None,
    batch: Annotated[int | None, Option("attention: sequences (default: 1)", "batch")] = None,
    window: Annotated[int | None, Option("attention: tokens it looks back (default: all)", "context")] = None,
    latent: Annotated[
        int | None,
        Option(
            "attention: of latents (MLA), values so wide; 512 of 128x1x576, 128 of a prompt's 128x4096x192",
            "heads",
        ),
    ] = None,
) -> Kernel:
    """Latency of one kernel on a GPU."""
    given = dict(locals())
    kinds = [name for name in _NAMES if given[name] is not None]
    if len(kinds) != 1:
        names = ", ".join(f"--{name}" for name in _NAMES)
        raise InputError("tilecast kernel", "needs one kernel", f"give one of {names}")
    kind = kinds[0]
    for name in ("context", "kv_heads", "batch", "window", "latent"):
        if given[name] is not None and kind != "attention":
            raise InputError("--" + name.replace("_", "-"), "is of attention", "add --attention")
    sizes = _sizes(kind, given[kind])
    gpu = load_device(device)
    if quantize and (kind != "product" or dtype in ("fp32", "bf16", "fp16", "mxfp4")):
        raise InputError("--quantize", f"narrows nothing of {kind} in {dtype}", "it is of fp8, fp8_block, nvfp4")
    if kind == "product":
        result, flops = _product(gpu, sizes, dtype, quantize)
    elif kind == "attention":
        result, flops = _attention(gpu, sizes, dtype, given)
    elif kind == "experts":
        result, flops = _experts(gpu, sizes, dtype)
    elif kind == "quantization":
        result, flops = _quantized(gpu, sizes, dtype), 0.0
    else:
        result, flops = _plain(gpu, {"family": kind, "op": _OPS[kind], "b": sizes[0], "m": sizes[1]}, dtype), 0.0
    about = {"kernel": f"{kind} {given[kind]}", "device": gpu.name, "title": gpu.title, "dtype": dtype}
    rate = 1e3 * flops / float(result["latency_ms"])
    return Kernel({**about, "sizes": sizes, "other": None, **result, "flops_per_s": rate})


def _sizes(kind: str, text: str) -> list[int]:
    """The sizes that a text such as 4096x4096x4096 gives."""
    parts = text.lower().split("x")
    wanted = _NAMES[kind].count("x") + 1
    if len(parts) != wanted or not all(re.fullmatch(r"[0-9]{1,9}", part) and int(part) for part in parts):
        raise InputError(f"--{kind}", f"{shown(text)} is no {kind}", f"give {_NAMES[kind]} such as 4096x4096x128")
    return [int(part) for part in parts]


def _product(gpu: Device, sizes: list[int], dtype: str, quantize: bool) -> tuple[dict[str, Any], float]:
    m, n, k = sizes
    from tilecast.predict.half_precision import shipped
    from tilecast.predict.physics import narrow

    measured = "bf16" if dtype == "fp16" else dtype
    if measured != "fp32" and shipped().covers(gpu, measured):
        result = _measured("gemm", measured, dict(zip("mnk", sizes, strict=True)), gpu)
        if dtype in narrow.NARROWED:
            import numpy as np

            from tilecast.predict.physics.chip import chip
            from tilecast.predict.physics.products import narrowing_ms

            dims, on = (
                {name: np.array([float(size)]) for name, size in zip("mnk", sizes, strict=True)},
                chip(gpu, dtype),
            )
            spent = narrowing_ms(dims, dtype, on, shipped().folds[f"gemm/{dtype}"][""].rates)
            wide = _arrays(_measured("gemm", "bf16", dict(zip("mnk", sizes, strict=True)), gpu))
            single = narrow.alone(_arrays(result), wide, spent, dims, dtype, on)
            without = {key: value if isinstance(value, str) else float(value[0]) for key, value in single.items()}
            rows = [("the product alone", without), ("with its activations narrowed", result)]
            (_, result), (words, other) = reversed(rows) if quantize else rows
            result = result | {"other": {"words": words, **other}}
    elif dtype not in ("fp32", "bf16", "fp16"):
        raise InputError(gpu.name, f"has no matrix units in {dtype}", "choose another format or device")
    else:
        result = _plain(gpu, {"family": "linear", "op": "linear", "b": 1, "m": m, "n": n, "k": k}, dtype)
    return result, 2.0 * m * n * k


def _attention(gpu: Device, sizes: list[int], dtype: str, given: dict[str, Any]) -> tuple[dict[str, Any], float]:
    heads, tokens, width = sizes
    batch, window, context = given["batch"] or 1, given["window"] or 0, given["context"]
    keys = given["kv_heads"] or heads
    if heads % keys:
        raise InputError("--kv-heads", f"{keys} do not divide {heads} heads", "choose another number")
    if context is not None and tokens != 1:
        raise InputError(
            "--attention", f"{tokens} tokens with --context", "a decode step has 1: give HEADSx1xWIDTH"
        )
    from tilecast.predict.half_precision import shipped

    measured, family = "bf16" if dtype == "fp16" else dtype, "prefill" if context is None else "decode"
    if given["latent"] is not None:
        return _latent(gpu, sizes, measured, given)
    if not shipped().knows(family, measured) or not shipped().covers(gpu, measured):
        raise InputError(f"attention in {dtype}", f"is not known on {gpu.title}", "ask for bf16, or another GPU")
    dims = {"batch": batch, "heads": heads, "kv_heads": keys, "head_dim": width, "window": window}
    dims |= {"tokens": tokens} if context is None else {"context": context}
    import numpy as np

    from tilecast.predict.physics.half import seen_keys

    span = np.array([float(tokens if context is None else context)])
    pairs = float(seen_keys(np.array([float(tokens)]), span, np.array([float(window)]))[0])
    return _measured(family, measured, dims, gpu), 4.0 * batch * heads * pairs * width


def _latent(gpu: Device, sizes: list[int], dtype: str, given: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Attention of latents: a step reads one row a token for all heads, a prompt has keys and values of each."""
    from tilecast.predict.half_precision import shipped

    for name in ("window", "kv_heads"):
        if given[name] is not None:
            raise InputError("--" + name.replace("_", "-"), "and --latent do not go together", "leave one out")
    heads, tokens, width = sizes
    value, batch, context = given["latent"], given["batch"] or 1, given["context"]
    if not 0 < value < width:
        raise InputError("--latent", f"values {value} wide of keys {width} wide", "values are narrower than keys")
    family = "latent_prefill" if context is None else "latent_decode"
    if not shipped().knows(family, dtype) or not shipped().covers(gpu, dtype):
        raise InputError(f"latent attention in {dtype}", f"is not known on {gpu.title}", "ask for bf16")
    length: dict[str, int] = {"tokens": tokens} if context is None else {"context": context}
    pairs = tokens * (tokens + 1) // 2 if context is None else context
    dims: dict[str, int] = {"batch": batch, "heads": heads, "width": width, "value": value, **length}
    return _measured(family, dtype, dims, gpu), 2.0 * batch * heads * pairs * (width + value)


def _experts(gpu: Device, sizes: list[int], dtype: str) -> tuple[dict[str, Any], float]:
    """The experts of a layer on one GPU: three products each, of the tokens that chose it."""
    from tilecast.predict.half_precision import shipped
    from tilecast.serving.passes import SKEW

    measured, (tokens, hidden, width, experts, chosen) = "bf16" if dtype == "fp16" else dtype, sizes
    if chosen > experts:
        raise InputError("--experts", f"{chosen} chosen of {experts} experts", "a token chooses some of them")
    if not shipped().knows("moe", measured) or not shipped().covers(gpu, measured):
        raise InputError(f"experts in {dtype}", f"are not known on {gpu.title}", "ask for bf16, or another GPU")
    dims = {"tokens": tokens, "hidden": hidden, "inter": width, "topk": chosen, "experts": experts}
    result = _measured("moe", measured, dims | {"tp": 1, "ep": 1, "skew": SKEW}, gpu)
    return result, 6.0 * tokens * chosen * hidden * width


def _quantized(gpu: Device, sizes: list[int], dtype: str) -> dict[str, Any]:
    """The kernel that narrows activations, on its own."""
    import numpy as np

    from tilecast.predict.half_precision import shipped
    from tilecast.predict.physics.quantize import quantized

    if dtype != "fp8":
        raise InputError(f"--quantization into {dtype}", "is measured nowhere", "add --dtype fp8")
    if not shipped().covers(gpu, dtype):
        raise InputError(gpu.name, f"has no matrix units in {dtype}", "choose another device")
    rows, width = (np.array([float(size)]) for size in sizes)
    found = quantized(rows, width, gpu)
    return {key: value[0] if key in ("bound", "passport") else float(value[0]) for key, value in found.items()}


def _measured(family: str, dtype: str, dims: Mapping[str, float], gpu: Device) -> dict[str, Any]:
    """The forecast of one kernel in half precision or below."""
    import numpy as np

    from tilecast.predict.formats import experts
    from tilecast.predict.half_precision import shipped

    arrays = {name: np.array([float(size)]) for name, size in dims.items()}
    found = experts(dtype, arrays, gpu) if family == "moe" else shipped().forecast(family, dtype, arrays, gpu)
    forecast = {key: values[0] for key, values in found.items()}
    return {key: value if isinstance(value, str) else float(value) for key, value in forecast.items()}


def _arrays(result: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {key: value if isinstance(value, str) else np.array([value]) for key, value in result.items()}


def _plain(gpu: Device, sizes: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The forecast of one kernel by the predictor of whole models."""
    if dtype not in ("fp32", "bf16", "fp16"):
        raise InputError("--dtype", f"{sizes['op']} in {dtype} is measured nowhere", "expected fp32, bf16 or fp16")
    gpu.check_format(dtype)
    import pandas as pd

    row = load_predictor("tilecast").predict(pd.DataFrame([sizes | {"dtype": dtype}]), gpu).iloc[0]
    return {key: row[key] for key in ("latency_ms", "low_ms", "high_ms", "bound", "passport")}
