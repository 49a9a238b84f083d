"""The figures of a deployment under a load: percentiles, means with intervals, throughput, memory and cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tilecast.base.paths import SERVING_INTERVALS as RATIOS
from tilecast.hardware.price import Prices, per_million_tokens
from tilecast.serving.deployment import Deployment, Served
from tilecast.tables.declared.half_precision import SERVING_INTERVALS
from tilecast.tables.io import read

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@lru_cache(maxsize=1)
def _ratios() -> Mapping[tuple[str, str], tuple[float, float]]:
    rows = read(RATIOS, SERVING_INTERVALS).itertuples()
    return {(str(row.kind), str(row.what)): (float(row.low_ratio), float(row.high_ratio)) for row in rows}  # type: ignore[arg-type]


def ends(deployment: Deployment, what: str, mean_ms: float) -> tuple[float, float]:
    """The 80 % interval of a mean time: how far measured serving points lay from their forecasts."""
    low, high = _ratios()["mixture" if deployment.model.experts else "dense", what]
    return low * mean_ms, high * mean_ms


def figures(deployment: Deployment, served: Served, prices: Prices) -> dict[str, Any]:
    """All figures, as JSON gives them; times in milliseconds."""
    found: dict[str, Any] = {}
    means = {}
    times = {"ttft": served.ttft_ms, "tpot": served.tpot_ms, "end_to_end": served.end_to_end_ms}
    for name, values in times.items():
        means[name] = served.mean(values)
        found[f"{name}_ms"] = {"mean": means[name]}
        found[f"{name}_ms"] |= {key: served.percentile(values, share) for key, share in SHARES.items()}
    for name in ("ttft", "tpot"):
        low, high = ends(deployment, name, means[name])
        found[f"{name}_ms"] |= {"low": low, "high": high}
    # Of the whole answer: both parts at the same end.
    made = max(float(served.requests.output.mean()) - 1, 0)
    for end in ("low", "high"):
        found["end_to_end_ms"][end] = found["ttft_ms"][end] + made * found["tpot_ms"][end]
    servers = 1 if deployment.decoders else deployment.pool.replicas * deployment.pool.pp
    rate = servers * served.tokens_per_s
    slow, fast = (means["end_to_end"] / found["end_to_end_ms"][end] for end in ("high", "low"))
    if not served.load.concurrency and not served.overloaded:
        slow = fast = 1.0  # all that comes is answered
    output = float(served.requests.output.mean())
    found["output_tokens_per_s"] = {"mean": rate, "low": rate * slow, "high": rate * fast}
    found["requests_per_s"] = rate / output
    paid = per_million_tokens(prices, deployment.device, deployment.gpus, rate).on_demand_usd
    found["usd_per_million_tokens"] = None
    if paid is not None:
        found["usd_per_million_tokens"] = {"mean": paid, "low": paid / fast, "high": paid / slow}
    found["overloaded"] = served.overloaded
    found["decode_pass_ms"] = {name: ms for name, ms in served.decode.parts.items() if ms}
    found["prefill_pass_ms"] = {name: ms for name, ms in served.prefill.parts.items() if ms}
    return found


def memory(deployment: Deployment, tokens: float) -> dict[str, Any]:
    """What a GPU of each pool holds, and how many requests of so many tokens one server has room for."""
    found = {}
    pools = {"servers": deployment.pool}
    if deployment.decoders:
        pools = {"prefill": deployment.pool, "decode": deployment.decoders}
    for name, pool in pools.items():
        room = deployment.room_bytes(pool)
        found[name] = {
            "gpus": pool.gpus,
            "weights_bytes": deployment.weight_bytes(pool),
            "cache_room_bytes": max(room, 0.0),
            "device_bytes": deployment.device.memory_bytes,
            "fits": bool(room > 0),
            "most_requests": max(0, int(room // float(deployment.cache_bytes(tokens, pool)))),
        }
    return found
