"""The study's tables: every system and strategy, as published and as physics allows; layouts; real models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from tilecast.moe.model import MoeModel
from tilecast.moe.names import STRATEGIES
from tilecast.moe.offload import ON_DEMAND
from tilecast.moe.placement import IMPOSSIBLE, Placement, Spread, place
from tilecast.moe.published import outcome
from tilecast.moe.step import Step, decode
from tilecast.moe.study import Study, StudySystem, links

MODES = ("as_published", "physical")
HOURS_A_MONTH = 730.0
Row = dict[str, Any]


def systems_table(study: Study) -> pd.DataFrame:
    """A row a mode, system and strategy (schema `moe_systems`)."""
    model = study.model()
    rows = [
        row(study, model, system, strategy, mode)
        for mode in MODES
        for system in study.systems
        for strategy in STRATEGIES
    ]
    return pd.DataFrame(rows)


def row(study: Study, model: MoeModel, system: StudySystem, strategy: str, mode: str) -> Row:
    """One strategy on one system in one mode."""
    physical = mode == "physical"
    spread = system.spread(strategy) if physical else system.published_spread(strategy)
    head = {"mode": mode, "system": system.name, "strategy": strategy, "spread": str(spread), "gpus": system.gpus}
    rates = _physical(study, model, system, spread) if physical else _published(study, system, spread, strategy)
    return head | rates | _costs(study, system, rates)


def _published(study: Study, system: StudySystem, spread: Spread, strategy: str) -> Row:
    inputs = study.published
    found = outcome(inputs, spread, system.published_bandwidth_bytes_per_s)
    recorded = strategy == "hybrid"
    words = "the original printed these" if recorded else "its formula; what it printed is unknown"
    ideal = system.gpus * inputs.baseline_tokens_per_s
    return {
        "verdict": "not asked",
        "reason": words,
        "resident_percent": None,
        "baseline_tokens_per_s": found.baseline_tokens_per_s,
        "prophet_tokens_per_s": found.prophet_tokens_per_s,
        "baseline_communication_percent": 100 * found.baseline_communication,
        "prophet_communication_percent": 100 * found.prophet_communication,
        "baseline_waiting_percent": None,
        "prophet_waiting_percent": None,
        "communicated_bytes_per_token": found.communicated_bytes,
        "communication_reduction": found.communication_reduction,
        "baseline_efficiency_percent": 100 * found.baseline_tokens_per_s / ideal,
        "prophet_efficiency_percent": 100
        * found.prophet_tokens_per_s
        / (system.gpus * inputs.prophet_tokens_per_s),
    }


def _physical(study: Study, model: MoeModel, system: StudySystem, spread: Spread) -> Row:
    placement, base, prophet = steps(study, model, system, spread)
    head: Row = {
        "verdict": placement.verdict,
        "reason": placement.reason,
        "resident_percent": 100 * placement.resident_share,
    }
    if base is None or prophet is None:
        return head | dict.fromkeys(_RATES)
    _, single, single_prophet = steps(study, model, system, Spread(1, 1))
    return head | {
        "baseline_tokens_per_s": base.tokens_per_s,
        "prophet_tokens_per_s": prophet.tokens_per_s,
        "baseline_communication_percent": 100 * base.communication_ms / base.total_ms,
        "prophet_communication_percent": 100 * prophet.communication_ms / prophet.total_ms,
        "baseline_waiting_percent": 100 * base.waiting_ms / base.total_ms,
        "prophet_waiting_percent": 100 * prophet.waiting_ms / prophet.total_ms,
        "communicated_bytes_per_token": base.sent_bytes * spread.gpus / base.tokens,
        "communication_reduction": base.communication_ms / prophet.communication_ms
        if base.communication_ms
        else 1.0,
        "baseline_efficiency_percent": _efficiency(base, single, system.gpus),
        "prophet_efficiency_percent": _efficiency(prophet, single_prophet, system.gpus),
    }


_RATES = (
    "baseline_tokens_per_s", "prophet_tokens_per_s", "baseline_communication_percent",
    "prophet_communication_percent", "baseline_waiting_percent", "prophet_waiting_percent",
    "communicated_bytes_per_token", "communication_reduction", "baseline_efficiency_percent",
    "prophet_efficiency_percent",
)  # fmt: skip


def _efficiency(step: Step, single: Step | None, gpus: int) -> float | None:
    return None if single is None else 100 * step.tokens_per_s / (gpus * single.tokens_per_s)


def placed(study: Study, model: MoeModel, system: StudySystem, spread: Spread) -> Placement:
    """Where the experts lie, at the study's physical inputs."""
    given = study.physical
    return place(
        model,
        spread,
        study.gpu(system).memory_bytes,
        tokens=given.tokens_per_gpu * spread.tensor,
        context_tokens=given.context_tokens,
        reserved_bytes=given.reserved_bytes,
        host_bytes=given.host_bytes_per_gpu,
    )


def steps(
    study: Study, model: MoeModel, system: StudySystem, spread: Spread
) -> tuple[Placement, Step | None, Step | None]:
    """Placement, and a step on demand and with the predictor; none where it is impossible."""
    given = study.physical
    placement = placed(study, model, system, spread)
    if placement.verdict == IMPOSSIBLE:
        return placement, None, None
    both = [
        decode(
            model,
            study.gpu(system),
            links(system),
            spread,
            placement,
            tokens_per_gpu=given.tokens_per_gpu,
            context_tokens=given.context_tokens,
            routing=study.routing,
            predictor=predictor,
        )
        for predictor in (ON_DEMAND, study.predictor)
    ]
    return placement, both[0], both[1]


def _costs(study: Study, system: StudySystem, rates: Row) -> Row:
    """Dollars of a million tokens; what the prefetcher saves a year, billed by the hour and in whole clusters."""
    price = system.gpus * system.usd_per_gpu_hour
    before, after = rates["baseline_tokens_per_s"], rates["prophet_tokens_per_s"]
    names = (
        "speedup", "baseline_usd_per_million_tokens", "prophet_usd_per_million_tokens", "saving_usd_per_year",
        "baseline_clusters", "prophet_clusters", "reserved_saving_usd_per_year",
    )  # fmt: skip
    if before is None or after is None:
        return dict.fromkeys(names)
    cost = [price / (rate * 3600) * 1e6 for rate in (before, after)]
    clusters = [math.ceil(study.tokens_per_month / (rate * 3600 * HOURS_A_MONTH)) for rate in (before, after)]
    saving = 12 * study.tokens_per_month / 1e6 * (cost[0] - cost[1])
    reserved = 12 * HOURS_A_MONTH * price * (clusters[0] - clusters[1])
    return dict(zip(names, (after / before, *cost, saving, *clusters, reserved), strict=True))


def spreads(gpus: int) -> Iterator[Spread]:
    """Every product of replicas, expert and tensor parallelism with so many GPUs."""
    for tensor in range(1, gpus + 1):
        for expert in range(1, gpus // tensor + 1):
            if gpus % (tensor * expert) == 0:
                yield Spread(gpus // (tensor * expert), expert, tensor)


def layouts_table(study: Study) -> pd.DataFrame:
    """Every product of replicas, expert and tensor parallelism on every system, fastest first."""
    model = study.model()
    rows = []
    for system in study.systems:
        for spread in spreads(system.gpus):
            placement, base, prophet = steps(study, model, system, spread)
            rows.append(
                {
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
    table = pd.DataFrame(rows)
    order = {system.name: place for place, system in enumerate(study.systems)}
    table["order"] = table["system"].map(order)
    keys = ["order", "baseline_tokens_per_s", "replicas", "expert_parallel"]
    table = table.sort_values(keys, ascending=[True, False, True, True], kind="stable", na_position="last")
    return table.drop(columns="order").reset_index(drop=True)


def models_table(study: Study) -> pd.DataFrame:
    """The study's model and the real ones on every system and strategy, with the activations a token sends."""
    rows = []
    for model in (study.model(), *study.models()):
        for system in study.systems:
            for strategy in STRATEGIES:
                found = row(study, model, system, strategy, "physical")
                kept = {name: found[name] for name in _MODEL_COLUMNS}
                rows.append({"model": model.title} | kept)
    return pd.DataFrame(rows)


_MODEL_COLUMNS = (
    "system", "strategy", "spread", "verdict", "resident_percent", "baseline_tokens_per_s",
    "prophet_tokens_per_s", "speedup", "communicated_bytes_per_token", "baseline_waiting_percent", "reason",
)  # fmt: skip
