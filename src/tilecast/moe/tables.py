"""The study's tables: every system and strategy in both modes, every layout, and real models."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pandas as pd

from tilecast.moe.model import MoeModel
from tilecast.moe.names import MODES, STRATEGIES
from tilecast.moe.offload import ON_DEMAND, Predictor
from tilecast.moe.placement import IMPOSSIBLE, Placement, Spread, place, spreads
from tilecast.moe.step import Gpu, Step, decode
from tilecast.moe.study import Published, Study, StudySystem, links
from tilecast.tables.declared.moe import LAYOUTS, MODELS

HOURS_A_MONTH = 730.0

Row = dict[str, Any]


def systems_table(study: Study) -> pd.DataFrame:
    """A row for each mode, system and strategy (schema `moe_systems`)."""
    model, chosen = study.model(), product(MODES, study.systems, STRATEGIES)
    return pd.DataFrame(_row(study, model, system, strategy, mode) for mode, system, strategy in chosen)


def models_table(study: Study) -> pd.DataFrame:
    """The study's model and the real ones on every system with every strategy."""
    chosen = product((study.model(), *study.models()), study.systems, STRATEGIES)
    rows = [{"model": each[0].title} | _row(study, *each, "physical") for each in chosen]
    return pd.DataFrame(rows, columns=list(MODELS.columns))


def layouts_table(study: Study) -> pd.DataFrame:
    """Every product of replicas, expert and tensor parallelism on every system, fastest first."""
    model = study.model()
    rows = []
    for order, system in enumerate(study.systems):
        for spread in spreads(system.gpus):
            placement, base, prophet = steps(study, model, system, spread)
            rates = base and base.tokens_per_s, prophet and prophet.tokens_per_s
            sizes = spread.replicas, spread.expert, spread.tensor
            rows.append((order, system.name, *sizes, placement.verdict, *rates, placement.reason))
    keys = ["order", "baseline_tokens_per_s", "replicas", "expert_parallel"]
    table = pd.DataFrame(rows, columns=["order", *LAYOUTS.columns]).sort_values(
        keys, ascending=[True, False, True, True], kind="stable"
    )
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
    row: Row = {"verdict": placement.verdict, "reason": placement.reason}
    row["resident_percent"] = 100 * placement.resident_share
    if base is None or prophet is None:
        return row
    _, single, single_prophet = steps(study, model, system, Spread(1, 1))
    row["communicated_bytes_per_token"] = base.sent_bytes * spread.gpus / base.tokens
    before = base.communication_ms
    row["communication_reduction"] = before / prophet.communication_ms if before else 1.0
    for name, step, one in (("baseline", base, single), ("prophet", prophet, single_prophet)):
        efficiency = None if one is None else 100 * step.tokens_per_s / (system.gpus * one.tokens_per_s)
        row[f"{name}_tokens_per_s"] = step.tokens_per_s
        row[f"{name}_communication_percent"] = 100 * step.communication_ms / step.total_ms
        row[f"{name}_waiting_percent"] = 100 * step.waiting_ms / step.total_ms
        row[f"{name}_efficiency_percent"] = efficiency
    return row


def published_rates(inputs: Published, spread: Spread, bandwidth_bytes_per_s: float) -> dict[str, float]:
    """The original study's own arithmetic, recovered from its output: it moves expert weights for every token.

    For a token of a replica of P GPUs, t_comp = 1 / rate and t_comm = k * expert bytes * (P - 1) / P / bandwidth;
    with r = t_comm / t_comp and R replicas, baseline = R * rate / (1 + r) and
    Prophet = R * gain * rate / (1 + r * (1 - accuracy)). It is kept as published, although physics differs:
    its experts never need to fit into memory, and its bandwidth counts both directions.
    """
    moved = inputs.experts_per_token * inputs.expert_bytes * (spread.expert - 1) / spread.expert
    ratio = moved / bandwidth_bytes_per_s * inputs.baseline_tokens_per_s
    left = ratio * (1 - inputs.accuracy)
    rate = spread.replicas * inputs.baseline_tokens_per_s
    base, prophet = rate / (1 + ratio), rate * inputs.prophet_gain / (1 + left)
    return {
        "baseline_tokens_per_s": base,
        "prophet_tokens_per_s": prophet,
        "baseline_communication_percent": 100 * (ratio / (1 + ratio)),
        "prophet_communication_percent": 100 * (left / (1 + left)),
        "communicated_bytes_per_token": moved,
        "communication_reduction": ratio / left if left else 1.0,
        "baseline_efficiency_percent": 100 * base / (spread.gpus * inputs.baseline_tokens_per_s),
        "prophet_efficiency_percent": 100 * prophet / (spread.gpus * inputs.prophet_tokens_per_s),
    }


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
