"""The study's tables: every system and strategy in three readings, every layout, and real models."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import product
from operator import itemgetter
from typing import Any

import pandas as pd

from tilecast.moe.names import MODES, STRATEGIES
from tilecast.moe.step import Placement, Step, named, pair, spread, spreads
from tilecast.moe.study import Published, Study, StudySystem
from tilecast.multigpu.layout import Layout
from tilecast.tables.declared.moe import LAYOUTS, MODELS, SYSTEMS

HOURS_A_MONTH = 730.0

Row = dict[str, Any]


def systems_table(study: Study) -> pd.DataFrame:
    """A row for each reading, system and strategy (schema `moe_systems`)."""
    rows = [row(study, *each) for each in product(MODES, study.systems, STRATEGIES)]
    return pd.DataFrame(rows, columns=list(SYSTEMS.columns))


def models_table(study: Study) -> pd.DataFrame:
    """The study's model and the real ones on every system with every strategy."""
    rows = []
    for model, system, strategy in product((None, *study.physical.models), study.systems, STRATEGIES):
        title = study.decoder(system, study.physical, model).model.title
        rows.append({"model": title} | row(study, "physical", system, strategy, model))
    return pd.DataFrame(rows, columns=list(MODELS.columns))


def layouts_table(study: Study) -> pd.DataFrame:
    """Every product of replicas, expert and tensor parallelism on every system, fastest first."""
    rows = []
    for order, system in enumerate(study.systems):
        for layout in spreads(system.gpus):
            placement, base, prophet = steps(study, system, layout)
            rates = base and base.tokens_per_s, prophet and prophet.tokens_per_s
            sizes = layout.dp // layout.ep, layout.ep, layout.tp
            rows.append((order, system.name, *sizes, placement.verdict, *rates, placement.reason))
    keys = ["order", "baseline_tokens_per_s", "replicas", "expert_parallel"]
    table = pd.DataFrame(rows, columns=["order", *LAYOUTS.columns]).sort_values(
        keys, ascending=[True, False, True, True], kind="stable"
    )
    return table.drop(columns="order").reset_index(drop=True)


def steps(
    study: Study, system: StudySystem, layout: Layout, model: str | None = None, **changed: Any
) -> tuple[Placement, Step | None, Step | None]:
    """Placement, and a step on demand and one with the predictor; None where the placement is impossible.

    What `changed` does not name is the study's; whether experts fit is found anew for what it does.
    """
    inputs = study.physical.changed("inputs", **changed) if changed else study.physical
    return pair(study.decoder(system, inputs, model), layout, inputs.tokens_per_gpu, inputs.serving)


def row(study: Study, mode: str, system: StudySystem, strategy: str, model: str | None = None) -> Row:
    """One strategy on one system in one reading."""
    if mode == "physical":
        layout = system.spread(strategy)
        rates = _physical(study, system, layout, model)
    else:
        layout = system.published_spread(strategy)
        rates = {"verdict": "not asked", "reason": _REASONS[mode, strategy == "hybrid"]} | stated_rates(
            study.published, layout, system.published_bandwidth_bytes_per_s, mode
        )
    head = {
        "mode": mode,
        "system": system.name,
        "strategy": strategy,
        "spread": named(layout),
        "gpus": system.gpus,
    }
    return head | rates | _costs(study, system, rates)


def details(study: Study, system: StudySystem, strategy: str, model: str | None = None) -> Iterator[str]:
    """Every intermediate figure of the physical reading of one strategy, a line each."""
    layout, inputs = system.spread(strategy), study.physical
    placement, base, prophet = steps(study, system, layout, model)
    about = study.decoder(system, inputs, model)
    rank = replace(layout, microbatch=inputs.tokens_per_gpu * layout.tp * layout.pp)
    link = about.host_link(rank, inputs.serving)
    for head, values in {
        "input": inputs.model_dump(exclude={"unstated", "models"}),
        "model": asdict(about.model),
        "link to the host": {**asdict(link), "pieces": link.pieces(about.model.expert_bytes / layout.tp)},
        "placement": {"layout": named(layout), **asdict(placement)},
        "on demand": asdict(base) | _totals(base) if base else {},
        "with the predictor": asdict(prophet) | _totals(prophet) if prophet else {},
    }.items():
        yield from (f"{head}: {name} = {value}" for name, value in values.items())


def _totals(step: Step) -> Row:
    return {"total_ms": step.total_ms, "tokens_per_s": step.tokens_per_s, "hit_rate": step.hit_rate}


_REASONS = {
    ("as_published", True): "the original printed these",
    ("as_published", False): "its formula; what it printed is unknown",
    ("as_described", True): "what the guide says of its inputs; nothing printed these",
    ("as_described", False): "what the guide says of its inputs; nothing printed these",
}


def _physical(study: Study, system: StudySystem, layout: Layout, model: str | None) -> Row:
    placement, base, prophet = steps(study, system, layout, model)
    found: Row = {"verdict": placement.verdict, "reason": placement.reason}
    found["resident_percent"] = 100 * placement.resident_share
    if base is None or prophet is None:
        return found
    _, single, single_prophet = steps(study, system, spread(1, 1), model)
    found["communicated_bytes_per_token"] = base.sent_bytes * layout.gpus / base.tokens
    before = base.communication_ms
    found["communication_reduction"] = before / prophet.communication_ms if before else 1.0
    found["hit_percent"] = 100 * base.hit_rate
    found["prophet_hit_percent"] = 100 * prophet.hit_rate
    for name, step, one in (("baseline", base, single), ("prophet", prophet, single_prophet)):
        efficiency = None if one is None else 100 * step.tokens_per_s / (system.gpus * one.tokens_per_s)
        found[f"{name}_tokens_per_s"] = step.tokens_per_s
        found[f"{name}_communication_percent"] = 100 * step.communication_ms / step.total_ms
        found[f"{name}_waiting_percent"] = 100 * step.waiting_ms / step.total_ms
        found[f"{name}_efficiency_percent"] = efficiency
    if model is None:
        found |= _ends(study, system, layout, (base.tokens_per_s, prophet.tokens_per_s))
    return found


def _ends(study: Study, system: StudySystem, layout: Layout, middle: tuple[float, float]) -> Row:
    """Ends of rates and speedup over the unstated inputs: each alone, and all at their worst and best."""
    found = [(*middle, middle[1] / middle[0])]

    def gain(**changed: Any) -> float | None:
        _, base, prophet = steps(study, system, layout, **changed)
        if base is None or prophet is None:
            return None
        found.append((base.tokens_per_s, prophet.tokens_per_s, prophet.tokens_per_s / base.tokens_per_s))
        return found[-1][2]

    worst: dict[str, Any] = {}
    best: dict[str, Any] = {}
    for name, values in study.physical.unstated.items():
        tried = [(made, value) for value in values if (made := gain(**{name: value})) is not None]
        for together, end in ((worst, min), (best, max)):
            made, value = end([*tried, (found[0][2], None)], key=itemgetter(0))
            if value is not None:
                together[name] = value
    for together in (worst, best):
        gain(**together)
    ends: Row = {}
    names = ("baseline_tokens_{}_per_s", "prophet_tokens_{}_per_s", "speedup_{}")
    for name, column in zip(names, zip(*found, strict=True), strict=True):
        ends |= {name.format("low"): min(column), name.format("high"): max(column)}
    return ends


def stated_rates(inputs: Published, layout: Layout, bandwidth_bytes_per_s: float, mode: str) -> dict[str, float]:
    """The original study's own arithmetic, which moves expert weights between GPUs for every token.

    For a token of a replica of P GPUs, t_comp = 1 / rate and t_comm = k * expert bytes * (P - 1) / P / bandwidth;
    with R replicas, the baseline gives R / (t_comp + t_comm).
    As published (recovered from its output): Prophet's rate is that times its gain, its t_comm, held against the
    baseline's t_comp, times 1 - accuracy: R * gain / (t_comp + t_comm * (1 - accuracy)).
    As described (what the guide says of the same inputs): Prophet's own rate, and t_comm over the "4x reduction".
    Experts never need to fit into memory, and the bandwidth counts both directions.
    """
    rate, replicas = inputs.baseline_tokens_per_s, layout.dp // layout.ep
    moved = inputs.experts_per_token * inputs.expert_bytes * (layout.ep - 1) / layout.ep
    sending = moved / bandwidth_bytes_per_s
    if mode == "as_published":
        gain, alone, left = inputs.prophet_gain, 1 / rate, sending * (1 - inputs.accuracy)
    else:
        gain, alone, left = 1.0, 1 / inputs.prophet_tokens_per_s, sending / inputs.prophet_gain
    base, prophet = replicas / (1 / rate + sending), replicas * gain / (alone + left)
    return {
        "baseline_tokens_per_s": base,
        "prophet_tokens_per_s": prophet,
        "baseline_communication_percent": 100 * (sending / (1 / rate + sending)),
        "prophet_communication_percent": 100 * (left / (alone + left)),
        "communicated_bytes_per_token": moved,
        "communication_reduction": sending / left if left else 1.0,
        "baseline_efficiency_percent": 100 * base / (layout.gpus * rate),
        "prophet_efficiency_percent": 100 * prophet / (layout.gpus * inputs.prophet_tokens_per_s),
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
