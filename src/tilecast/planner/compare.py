"""One question about serving asked of many models, GPUs and formats; and the fewest GPUs that keep a rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.hardware.price import Prices
from tilecast.hardware.system import System, load_system, system_names
from tilecast.models.architecture import Architecture
from tilecast.predict.half_precision import HalfPrecision, shipped
from tilecast.serving.answer import answered
from tilecast.serving.deployment import Deployment, Pool, check, served
from tilecast.serving.engines import Engine
from tilecast.serving.load import Load
from tilecast.serving.passes import Formats

TP = (1, 2, 4, 8)  # GPUs of one server that are tried
MORE = 1.5  # servers that are tried beyond those that a closed loop's throughput asks for


def system_of(device: Device) -> System | None:
    """The largest described node of these GPUs; None where there is none."""
    known = (load_system(name) for name in system_names())
    able = (one for one in known if one.device == device.name)
    return max(able, key=lambda one: (one.gpus_per_node, one.gpus), default=None)


def servers(model: Architecture, device: Device, formats: Formats, engine: Engine) -> Iterator[Deployment | str]:
    """Servers of 1 to 8 GPUs that can be forecast; why not in a line for those that cannot."""
    system = system_of(device)
    for tp in TP:
        one = Deployment(
            model, device, system, engine.batching, formats, Pool(tp, ep=1), memory_share=engine.memory_share
        )
        try:
            check(one, shipped())
        except InputError as error:
            yield str(error).partition(";")[0]
            continue
        if system is not None and tp > system.gpus_per_node:
            return
        yield one


def known_as(device: Device, formats: Formats, predictor: HalfPrecision) -> str:
    """How well products of a format are known on a GPU."""
    return "measured" if predictor.seen(device, f"gemm/{formats.gemm}", ()) else "from other GPUs"


def in_words(formats: Formats) -> str:
    """The formats of a row, as `bf16`, `fp8, fp8 cache` or `bf16, int4 weights`."""
    words = [formats.gemm]
    words += [f"{formats.weights} weights"] if formats.weights else []
    return ", ".join(words + ([f"{formats.cache} cache"] if formats.cache != "bf16" else []))


def row(
    model: Architecture,
    device: Device,
    formats: Formats,
    engine: Engine,
    load: Load,
    prices: Prices,
    bounds: Mapping[str, float],
) -> dict[str, Any]:
    """The smallest server that holds the model, and its best load within the bounds."""
    found: dict[str, Any] = {
        "model": model.name,
        "device": device.short or device.name,
        "dtype": in_words(formats),
    }
    why = ""
    for one in servers(model, device, formats, engine):
        if isinstance(one, str):
            why = why or one
            continue
        result = answered(one, load, prices, bounds)
        if not result["loads"]:
            why = f"does not fit on {one.gpus} GPU{'s' * (one.gpus > 1)}"
            continue
        best = None if result["best"] is None else result["loads"][result["best"]]
        if best is None:
            why = f"keeps the bounds on no load of {one.gpus} GPU{'s' * (one.gpus > 1)}"
            continue
        return found | {"gpus": one.gpus, "known": known_as(device, formats, shipped())} | _figures(best)
    return found | {"gpus": None, "why_not": why}


def _figures(best: Mapping[str, Any]) -> dict[str, Any]:
    names = ("ttft_ms", "tpot_ms", "output_tokens_per_s", "usd_per_million_tokens", "joules_per_token")
    return {
        "clients": best["concurrency"],
        **{name: best[name] for name in names},
    }


def recommended(
    model: Architecture,
    device: Device,
    formats: Formats,
    engine: Engine,
    load: Load,
    prices: Prices,
    bounds: Mapping[str, float],
) -> Iterator[dict[str, Any]]:
    """For each size of server: how many keep `load.rate_per_s` within the bounds, replayed as an open loop."""
    wanted = load.rate_per_s
    for one in servers(model, device, formats, engine):
        if isinstance(one, str):
            continue
        result = answered(one, replace(load, rate_per_s=0.0), prices, bounds)
        if result["best"] is None:
            continue
        best = result["loads"][result["best"]]
        least = max(1, math.ceil(wanted / best["requests_per_s"]))
        for count in range(least, math.ceil(MORE * least) + 1):
            many = replace(one, pool=replace(one.pool, replicas=count), system=_enough(one, count))
            seen = served(many, load, shipped())
            times = {"ttft_ms": seen.mean(seen.ttft_ms), "tpot_ms": seen.mean(seen.tpot_ms)}
            if not seen.overloaded and all(times[name] <= most for name, most in bounds.items()):
                offer = prices.offer(device.name)
                hourly = None
                if offer is not None:
                    hourly = math.ceil(many.gpus / offer.gpus) * offer.on_demand.value
                yield {
                    "device": device.short or device.name, "dtype": in_words(formats), "tp": one.pool.tp,
                    "servers": count, "gpus": many.gpus, "usd_per_hour": hourly, **times,
                    "clients": best["concurrency"], "deployment": one,
                    "known": known_as(device, formats, shipped()),
                }  # fmt: skip
                break


def _enough(one: Deployment, count: int) -> System | None:
    """The system with as many nodes as the servers need: they do not send to each other."""
    if one.system is None:
        return None
    nodes = math.ceil(one.gpus * count / one.system.gpus_per_node)
    return replace(one.system, nodes=max(nodes, one.system.nodes))
