"""What the gain of prefetching depends on: one input at a time, and a map of where prefetching wins at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.moe.compare import placed
from tilecast.moe.offload import ON_DEMAND, Predictor
from tilecast.moe.placement import IMPOSSIBLE
from tilecast.moe.step import Step, decode
from tilecast.moe.study import Study, StudySystem, links

FACTORS: dict[str, tuple[str, tuple[float, float]]] = {
    "accuracy": ("recall and precision of the predictor", (0.5, 1.0)),
    "tokens_per_gpu": ("sequences a GPU decodes at a time", (1, 64)),
    "top_k": ("experts a token takes", (1, 16)),
    "host_bytes_per_s": ("rate of the link to the host", (11e9, 200e9)),
    "hit_rate": ("share of requests the cache answers", (0.0, 0.99)),
}
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HOST_RATES = tuple(1e9 * rate for rate in (10, 14, 20, 25, 35, 50, 70, 100, 140, 200, 280, 400))
HIT_RATES = (0.5, 0.8, 0.95, 0.99)


def pair(study: Study, system: StudySystem, **changed: float) -> tuple[Step, Step]:
    """The hybrid strategy's step on demand and with the predictor, the inputs of FACTORS in `changed` replaced."""
    model = study.model()
    if "top_k" in changed:
        model = replace(model, top_k=int(changed["top_k"]))
    given = study.physical
    tokens = int(changed.get("tokens_per_gpu", given.tokens_per_gpu))
    placement = placed(study, model, system, system.spread("hybrid"))
    if placement.verdict == IMPOSSIBLE:
        raise InputError(f"system {system.name}", placement.reason, "name a system of the study that can run it")
    gpu = study.gpu(system)
    if "host_bytes_per_s" in changed:
        gpu = replace(gpu, host_bytes_per_s=changed["host_bytes_per_s"])
    predictor = study.predictor
    if "accuracy" in changed:
        predictor = Predictor(changed["accuracy"], changed["accuracy"], given.lookahead_layers)
    shared: dict[str, Any] = {
        "tokens_per_gpu": tokens,
        "context_tokens": given.context_tokens,
        "routing": study.routing,
        "hit_rate": changed.get("hit_rate"),
    }
    spread = system.spread("hybrid")
    base, prophet = (
        decode(model, gpu, links(system), spread, placement, predictor=who, **shared)
        for who in (ON_DEMAND, predictor)
    )
    return base, prophet


def tornado(study: Study, system: StudySystem) -> pd.DataFrame:
    """Gain and throughput at the study's inputs, and with each input in turn at its low and its high value."""
    rows = [_row("study", "the study's inputs", None, pair(study, system))]
    for factor, (meaning, ends) in FACTORS.items():
        for value in ends:
            rows.append(_row(factor, meaning, value, pair(study, system, **{factor: value})))
    return pd.DataFrame(rows)


def _row(factor: str, meaning: str, value: float | None, found: tuple[Step, Step]) -> dict[str, Any]:
    base, prophet = found
    return {
        "factor": factor,
        "meaning": meaning,
        "value": value,
        "baseline_tokens_per_s": base.tokens_per_s,
        "prophet_tokens_per_s": prophet.tokens_per_s,
        "speedup": prophet.tokens_per_s / base.tokens_per_s,
        "hit_rate": prophet.hit_rate,
    }


def where_it_wins(study: Study, system: StudySystem) -> pd.DataFrame:
    """Gain by sequences a GPU, rate of the link to the host, and hit rate of the cache."""
    rows = []
    for hit_rate in HIT_RATES:
        for rate in HOST_RATES:
            for tokens in BATCHES:
                base, prophet = pair(
                    study, system, hit_rate=hit_rate, host_bytes_per_s=rate, tokens_per_gpu=tokens
                )
                rows.append(
                    {
                        "hit_rate": hit_rate,
                        "host_bytes_per_s": rate,
                        "tokens_per_gpu": tokens,
                        "baseline_tokens_per_s": base.tokens_per_s,
                        "prophet_tokens_per_s": prophet.tokens_per_s,
                        "speedup": prophet.tokens_per_s / base.tokens_per_s,
                    }
                )
    return pd.DataFrame(rows)
