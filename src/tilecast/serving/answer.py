"""The figures of a deployment under a load: percentiles, means with intervals, throughput, memory and cost."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tilecast.base.paths import SERVING_INTERVALS as RATIOS
from tilecast.hardware.power import watts
from tilecast.hardware.price import Prices, per_million_tokens
from tilecast.predict.half_precision import shipped
from tilecast.serving.deployment import Deployment, Desk, Served, sweep
from tilecast.serving.load import Load

SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@lru_cache(maxsize=1)
def _ratios() -> Mapping[tuple[str, str], tuple[float, float]]:
    with RATIOS.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {(row["kind"], row["what"]): (float(row["low_ratio"]), float(row["high_ratio"])) for row in rows}


def ends(deployment: Deployment, what: str, mean_ms: float) -> tuple[float, float]:
    """The 80 % interval of a mean time: how far measured serving points lay from their forecasts."""
    low, high = _ratios()["mixture" if deployment.model.experts else "dense", what]
    return low * mean_ms, high * mean_ms


def unmeasured(deployment: Deployment, load: Load) -> list[str]:
    """What of a question no measured serving point had: its answer has no interval."""
    pools = [pool for pool in (deployment.pool, deployment.decoders) if pool]
    node = deployment.system.gpus_per_node if deployment.system else 1
    cases = {
        "requests that come by themselves": not load.concurrency,
        "latent attention": bool(deployment.model.latent),
        "a prefix cache": load.cached > 0,
        "weights widened as they are read": bool(deployment.formats.weights),
        "drafts": deployment.draft is not None,
        "servers that decode apart": deployment.decoders is not None,
        "pipeline stages": any(pool.pp > 1 for pool in pools),
        "a server beyond one node": any(pool.tp > node for pool in pools),
    }
    return [words for words, holds in cases.items() if holds]


def figures(deployment: Deployment, served: Served, prices: Prices) -> dict[str, Any]:
    """All figures, as JSON gives them; times in milliseconds."""
    found: dict[str, Any] = {}
    means = {}
    times = {"ttft": served.ttft_ms, "tpot": served.tpot_ms, "end_to_end": served.end_to_end_ms}
    for name, values in times.items():
        means[name] = served.mean(values)
        found[f"{name}_ms"] = {"mean": means[name]}
        found[f"{name}_ms"] |= {key: served.percentile(values, share) for key, share in SHARES.items()}
    servers = 1 if deployment.decoders else deployment.pool.replicas * deployment.pool.pp
    rate = servers * served.tokens_per_s
    paid = per_million_tokens(prices, deployment.device, deployment.gpus, rate).on_demand_usd
    found["output_tokens_per_s"] = {"mean": rate}
    found["requests_per_s"] = rate / float(served.requests.output.mean())
    found["usd_per_million_tokens"] = None if paid is None else {"mean": paid}
    drawn = watts(deployment.device, _bound_ms(deployment, served))
    found["joules_per_token"] = None if drawn is None else {"mean": deployment.gpus * drawn["mean"] / rate}
    found["unmeasured"] = unmeasured(deployment, served.load)
    if not found["unmeasured"]:
        for name in ("ttft", "tpot"):
            low, high = ends(deployment, name, means[name])
            found[f"{name}_ms"] |= {"low": low, "high": high}
        made = float(served.requests.output.mean()) - 1
        for end, other in (("low", "high"), ("high", "low")):  # of the whole answer: both parts at the same end
            whole = found["ttft_ms"][end] + made * found["tpot_ms"][end]
            faster = means["end_to_end"] / whole
            found["end_to_end_ms"][end] = whole
            found["output_tokens_per_s"][other] = rate * faster
            if paid is not None:
                found["usd_per_million_tokens"][end] = paid / faster
            if drawn is not None:
                found["joules_per_token"][end] = deployment.gpus * drawn[end] / (rate * faster)
    found["overloaded"] = served.overloaded
    found["decode_pass_ms"] = {name: ms for name, ms in served.decode.parts.items() if ms}
    found["prefill_pass_ms"] = {name: ms for name, ms in served.prefill.parts.items() if ms}
    return found


def _bound_ms(deployment: Deployment, served: Served) -> dict[str, float]:
    """A second of a server by what binds it: prompts by operations, decoding by bandwidth."""
    requests = served.tokens_per_s / float(served.requests.output.mean())
    prompts = min(1e3, requests * served.prefill.total_ms)
    return {"compute": prompts, "bandwidth": 1e3 - prompts}


def memory(deployment: Deployment, tokens: float) -> dict[str, Any]:
    """What a GPU of each pool holds, and how many requests of so many tokens one server has room for."""
    found, most = {}, deployment.batching.sequences
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
            "most_requests": int(max(0, min(room // float(deployment.cache_bytes(tokens, pool)), most))),
        }
    return found


def answered(deployment: Deployment, load: Load, prices: Prices, bounds: Mapping[str, float]) -> dict[str, Any]:
    """Memory, a row of figures a load, and the place of the best one within the bounds, None where none is.

    Of requests without a load every number of clients that fits is tried, from 1 by doublings.
    """
    held = memory(deployment, load.prompt.mean + load.output.mean)
    asked = [load] if load.concurrency or load.rate_per_s or load.trace else sweep(deployment, load)
    desk, rows = Desk(shipped(), deployment.device, deployment.system), []
    if all(pool["fits"] and pool["most_requests"] for pool in held.values()):
        for one in asked:
            desk.ask(deployment, one)
        for one, served in zip(asked, desk.answers(), strict=True):
            rows.append({"concurrency": one.concurrency or None, **figures(deployment, served, prices)})
    within = [row for row in rows if all(row[name]["mean"] <= most for name, most in bounds.items())]
    best = max(within, key=lambda row: row["output_tokens_per_s"]["mean"], default=None)
    return {"memory": held, "best": None if best is None else rows.index(best), "loads": rows}
