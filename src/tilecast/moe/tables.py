"""The study's tables: every system and strategy in both modes, every layout, and real models."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from tilecast.moe.model import MoeModel
from tilecast.moe.names import MODES, STRATEGIES
from tilecast.moe.offload import ON_DEMAND, Predictor
from tilecast.moe.placement import IMPOSSIBLE, Placement, Spread, place, spreads
from tilecast.moe.published import published_rates
from tilecast.moe.step import Gpu, Step, decode
from tilecast.moe.study import Study, StudySystem, links

HOURS_A_MONTH = 730.0
_MODEL_COLUMNS = (
    "system",
    "strategy",
    "spread",
    "verdict",
    "resident_percent",
    "baseline_tokens_per_s",
    "prophet_tokens_per_s",
    "speedup",
    "communicated_bytes_per_token",
    "baseline_waiting_percent",
    "reason",
)
Row = dict[str, Any]


def systems_table(study: Study) -> pd.DataFrame:
    """A row for each mode, system and strategy (schema `moe_systems`)."""
    model = study.model()
    return pd.DataFrame(
        _row(study, model, system, strategy, mode)
        for mode in MODES
        for system in study.systems
        for strategy in STRATEGIES
    )


def models_table(study: Study) -> pd.DataFrame:
    """The study's model and the real ones on every system with every strategy."""
    rows = []
    for model in (study.model(), *study.models()):
        for system in study.systems:
            for strategy in STRATEGIES:
                found = _row(study, model, system, strategy, "physical")
                rows.append({"model": model.title} | {name: found.get(name) for name in _MODEL_COLUMNS})
    return pd.DataFrame(rows)


def layouts_table(study: Study) -> pd.DataFrame:
    """Every product of replicas, expert and tensor parallelism on every system, fastest first."""
    model = study.model()
    rows: list[Row] = []
    for order, system in enumerate(study.systems):
        for spread in spreads(system.gpus):
            placement, base, prophet = steps(study, model, system, spread)
            rows.append(
                {
                    "order": order,
                    "system": system.name,
                    "replicas": spread.replicas,
                    "expert_parallel": spread.expert,
                    "tensor_parallel": spread.tensor,
                    "verdict": placement.verdict,
                    "baseline_tokens_per_s": base and base.tokens_per_s,
                    "prophet_tokens_per_s": prophet and prophet.tokens_per_s,
                    "reason": placement.reason,
                }
            )
    keys = ["order", "baseline_tokens_per_s", "replicas", "expert_parallel"]
    table = pd.DataFrame(rows).sort_values(keys, ascending=[True, False, True, True], kind="stable")
    return table.drop(columns="order").reset_index(drop=True)


def steps(
    study: Study,
    model: MoeModel,
    system: StudySystem,
    spread: Spread,
    *,
    gpu: Gpu | None = None,
    predictor: Predictor | None = None,
    tokens_per_gpu: int | None = None,
    hit_rate: float | None = None,
) -> tuple[Placement, Step | None, Step | None]:
    """Placement, and a step on demand and one with the predictor; None where the placement is impossible.

    What is not given is the study's; the placement is always that of the study's inputs.
    """
    given = study.physical
    placement = place(
        model,
        spread,
        study.gpu(system).memory_bytes,
        tokens=given.tokens_per_gpu * spread.tensor,
        context_tokens=given.context_tokens,
        reserved_bytes=given.reserved_bytes,
        host_bytes=given.host_bytes_per_gpu,
    )
    if placement.verdict == IMPOSSIBLE:
        return placement, None, None
    base, prophet = (
        decode(
            model,
            gpu or study.gpu(system),
            links(system),
            spread,
            placement,
            tokens_per_gpu=tokens_per_gpu or given.tokens_per_gpu,
            context_tokens=given.context_tokens,
            routing=study.routing,
            predictor=one,
            hit_rate=hit_rate,
        )
        for one in (ON_DEMAND, predictor or study.predictor)
    )
    return placement, base, prophet


def _row(study: Study, model: MoeModel, system: StudySystem, strategy: str, mode: str) -> Row:
    """One strategy on one system in one mode."""
    if mode == "physical":
        spread = system.spread(strategy)
        rates = _physical(study, model, system, spread)
    else:
        spread = system.published_spread(strategy)
        printed = strategy == "hybrid"
        rates = {
            "verdict": "not asked",
            "reason": "the original printed these" if printed else "its formula; what it printed is unknown",
            **dict.fromkeys(("resident_percent", "baseline_waiting_percent", "prophet_waiting_percent")),
            **published_rates(study.published, spread, system.published_bandwidth_bytes_per_s),
        }
    head = {"mode": mode, "system": system.name, "strategy": strategy, "spread": str(spread), "gpus": system.gpus}
    return head | rates | _costs(study, system, rates)


def _physical(study: Study, model: MoeModel, system: StudySystem, spread: Spread) -> Row:
    placement, base, prophet = steps(study, model, system, spread)
    row: Row = {
        "verdict": placement.verdict,
        "reason": placement.reason,
        "resident_percent": 100 * placement.resident_share,
    }
    if base is None or prophet is None:
        return row
    before, after = base.communication_ms, prophet.communication_ms
    _, single, single_prophet = steps(study, model, system, Spread(1, 1))
    return row | {
        "baseline_tokens_per_s": base.tokens_per_s,
        "prophet_tokens_per_s": prophet.tokens_per_s,
        "baseline_communication_percent": 100 * before / base.total_ms,
        "prophet_communication_percent": 100 * after / prophet.total_ms,
        "baseline_waiting_percent": 100 * base.waiting_ms / base.total_ms,
        "prophet_waiting_percent": 100 * prophet.waiting_ms / prophet.total_ms,
        "communicated_bytes_per_token": base.sent_bytes * spread.gpus / base.tokens,
        "communication_reduction": before / after if before else 1.0,
        "baseline_efficiency_percent": _efficiency_percent(base, single, system.gpus),
        "prophet_efficiency_percent": _efficiency_percent(prophet, single_prophet, system.gpus),
    }


def _efficiency_percent(step: Step, single: Step | None, gpus: int) -> float | None:
    return None if single is None else 100 * step.tokens_per_s / (gpus * single.tokens_per_s)


def _costs(study: Study, system: StudySystem, rates: Row) -> Row:
    """Dollars per million tokens, and what the prefetcher saves a year, by the hour and in whole clusters."""
    if rates.get("baseline_tokens_per_s") is None:
        return {}
    usd_per_hour = system.gpus * system.usd_per_gpu_hour
    before, after = rates["baseline_tokens_per_s"], rates["prophet_tokens_per_s"]
    cost = [usd_per_hour / (rate * 3600) * 1e6 for rate in (before, after)]
    clusters = [math.ceil(study.tokens_per_month / (rate * 3600 * HOURS_A_MONTH)) for rate in (before, after)]
    return {
        "speedup": after / before,
        "baseline_usd_per_million_tokens": cost[0],
        "prophet_usd_per_million_tokens": cost[1],
        "saving_usd_per_year": 12 * study.tokens_per_month / 1e6 * (cost[0] - cost[1]),
        "baseline_clusters": clusters[0],
        "prophet_clusters": clusters[1],
        "reserved_saving_usd_per_year": 12 * HOURS_A_MONTH * usd_per_hour * (clusters[0] - clusters[1]),
    }
