"""How the gain of prefetching depends on one input at a time, and a map of where prefetching gains at all."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.moe.offload import Predictor
from tilecast.moe.step import Step
from tilecast.moe.study import Study, StudySystem
from tilecast.moe.tables import steps

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
    """The hybrid strategy's step on demand and with the predictor, inputs of FACTORS in `changed` replaced."""
    model, gpu, predictor = study.model(), study.gpu(system), study.predictor
    if "top_k" in changed:
        model = replace(model, top_k=int(changed["top_k"]))
    if "host_bytes_per_s" in changed:
        gpu = replace(gpu, host_bytes_per_s=changed["host_bytes_per_s"])
    if "accuracy" in changed:
        predictor = Predictor(changed["accuracy"], changed["accuracy"], predictor.lookahead_layers)
    placement, base, prophet = steps(
        study,
        model,
        system,
        system.spread("hybrid"),
        gpu=gpu,
        predictor=predictor,
        tokens_per_gpu=int(changed.get("tokens_per_gpu", study.physical.tokens_per_gpu)),
        hit_rate=changed.get("hit_rate"),
    )
    if base is None or prophet is None:
        raise InputError(f"system {system.name}", placement.reason, "name a system of the study that can run it")
    return base, prophet


def tornado(study: Study, system: StudySystem) -> pd.DataFrame:
    """Gain and throughput at the study's inputs, and with each input in turn at its low and its high value."""

    def row(factor: str, meaning: str, value: float | None, found: tuple[Step, Step]) -> dict[str, Any]:
        head = {"factor": factor, "meaning": meaning, "value": value}
        return head | _rates(*found) | {"hit_rate": found[1].hit_rate}

    rows = [row("study", "the study's inputs", None, pair(study, system))]
    for name, (meaning, ends) in FACTORS.items():
        rows += [row(name, meaning, value, pair(study, system, **{name: value})) for value in ends]
    return pd.DataFrame(rows)


def where_it_wins(study: Study, system: StudySystem) -> pd.DataFrame:
    """Gain by sequences a GPU, rate of the link to the host, and hit rate of the cache."""
    rows = []
    for hit_rate, rate, tokens in product(HIT_RATES, HOST_RATES, BATCHES):
        changed = {"hit_rate": hit_rate, "host_bytes_per_s": rate, "tokens_per_gpu": tokens}
        rows.append(changed | _rates(*pair(study, system, **changed)))
    return pd.DataFrame(rows)


def _rates(base: Step, prophet: Step) -> dict[str, Any]:
    return {
        "baseline_tokens_per_s": base.tokens_per_s,
        "prophet_tokens_per_s": prophet.tokens_per_s,
        "speedup": prophet.tokens_per_s / base.tokens_per_s,
    }
