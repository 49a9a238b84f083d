"""How the gain of prefetching depends on one input at a time, and a map of where prefetching gains at all."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd

from tilecast.base.errors import InputError
from tilecast.moe.offload import ON_DEMAND, HostLink, Predictor, play
from tilecast.moe.step import Step
from tilecast.moe.stream import synthetic
from tilecast.moe.study import Study, StudySystem
from tilecast.moe.tables import steps

FACTORS: dict[str, tuple[str, tuple[Any, Any]]] = {
    "recall": ("share of needed experts named ahead", (0.5, 1.0)),
    "precision": ("share of named experts that are needed", (0.5, 1.0)),
    "tokens_per_gpu": ("sequences a GPU decodes at a time", (1, 64)),
    "host_bytes_per_s": ("rate of the link to the host", (11e9, 200e9)),
    "cache_share": ("share of the GPU's memory for experts", (0.1, 0.6)),
    "reuse": ("chance that a token's expert is used again", (0.0, 0.5)),
}
# The map's layer: any other number of experts moves the hit rates a little, not where prefetching pays.
LAYERS, EXPERTS, TOP_K, STEPS = 6, 64, 4, 30
KEPT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95)  # share of the experts that stays on the GPU
RATIOS = tuple(2.0**power for power in range(-3, 7))  # fetching a layer's needed experts over computing the layer
RECALLS = (0.5, 0.8, 0.95)
PRECISION = 0.8


def both(study: Study, system: StudySystem, **changed: Any) -> tuple[Step, Step]:
    """The hybrid strategy's step on demand and with the predictor, inputs of FACTORS in `changed` replaced."""
    placement, base, prophet = steps(study, system, system.spread("hybrid"), **changed)
    if base is None or prophet is None:
        raise InputError(f"system {system.name}", placement.reason, "name a system of the study that can run it")
    return base, prophet


def tornado(study: Study, system: StudySystem) -> pd.DataFrame:
    """Gain and throughput at the study's inputs, and with each input in turn at its low and its high value."""

    def row(factor: str, meaning: str, value: float | None, found: tuple[Step, Step]) -> dict[str, Any]:
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

    rows = [row("study", "the study's inputs", None, both(study, system))]
    for name, (meaning, ends) in FACTORS.items():
        rows += [row(name, meaning, value, both(study, system, **{name: value})) for value in ends]
    return pd.DataFrame(rows)


def where_it_pays(reuse: float) -> pd.DataFrame:
    """Gain of prefetching over fetching on demand, by what stays on the GPU, what crosses, and recall.

    The same cache, link and stream both ways: what a system gains beside that is no gain of prefetching.
    """
    stream = synthetic(EXPERTS, TOP_K, layers=LAYERS, sequences=1, steps=STEPS, reuse=reuse)
    rows = []
    for kept, ratio in product(KEPT, RATIOS):
        found = {}
        for recall in (0.0, *RECALLS):
            predictor = Predictor(recall, PRECISION) if recall else ON_DEMAND
            found[recall] = play(
                stream,
                experts=EXPERTS,
                ranks=1,
                slots=kept * EXPERTS * LAYERS,
                policy="layer-wise",
                predictor=predictor,
                link=HostLink(1.0),
                expert_bytes=ratio / TOP_K,
                dense_s=0.5,
                experts_s=0.5,
            )
        before = found[0.0]
        for recall in RECALLS:
            after = found[recall]
            rows.append(
                {
                    "recall": recall,
                    "kept_share": kept,
                    "transfer_over_compute": ratio,
                    "speedup": (1 + before.waiting_s) / (1 + after.waiting_s),
                    "cached_rate": before.hit_rate,
                    "hit_rate": after.hit_rate,
                }
            )
    return pd.DataFrame(rows).sort_values(["recall", "kept_share", "transfer_over_compute"]).reset_index(drop=True)
