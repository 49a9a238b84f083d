"""A step on many GPUs as an answer gives it: plain values, text for a reader, cost, a timeline for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tilecast.api.text import NOTHING, percentages, short, size, text_table

if TYPE_CHECKING:
    from tilecast.hardware.device import Device
    from tilecast.hardware.price import Prices
    from tilecast.models.workload import Workload
    from tilecast.multigpu.step import Step

STAGES = 16  # verdicts of stages that are printed; the values hold all

WORDS = {
    "compute": "kernels", "recompute": "recomputing activations", "host": "waiting for the host",
    "tp": "tensor-parallel communication", "ep": "expert-parallel communication",
    "cp": "context-parallel communication", "dp": "gradients and sharded weights",
    "pp": "passing activations between stages", "bubble": "waiting in the pipeline", "optimizer": "optimizer",
}  # fmt: skip


def step_values(step: Step, work: Workload) -> dict[str, Any]:
    """The forecast of a step as plain values."""
    held = step.memory
    return {
        "gpus": step.layout.gpus,
        "layout": {"label": step.layout.label, **asdict(step.layout)},
        "microbatches": step.layout.microbatches(work.batch_size),
        **{name: getattr(step, name) for name in ("latency_ms", "low_ms", "high_ms", "tokens_per_s")},
        "parts_ms": {name: ms if ms > NOTHING else 0.0 for name, ms in step.parts.items()},
        "bubble_share": step.bubble_share,
        "memory": {
            "fits": held.fits,
            "verdict": held.verdict,
            "total_bytes": held.total_bytes,
            "device_bytes": held.capacity_bytes,
            "parts": held.parts,
            "stages": list(held.stages),
            "stage_verdicts": held.stage_verdicts,
        },
        "stages_ms": list(step.stages),
    }


def step_lines(found: Mapping[str, Any]) -> list[str]:
    """The lines on layout, rate, memory and cost."""
    gpus, count, held, layout = found["gpus"], found["microbatches"], found["memory"], found["layout"]
    verdicts = held["stage_verdicts"] if layout["pp"] > 1 else []
    below = [", ".join(f"{name} {size(held)}" for name, held in held["parts"].items() if held)]
    below += verdicts[:STAGES]
    below += [f"{len(verdicts) - STAGES} more lines of stages: see --json"] if len(verdicts) > STAGES else []
    each = f", {short(found['tokens_per_s'] / gpus, 3)} a GPU" if gpus > 1 else ""
    unit = "tokens" if found["sequence_length"] else "inputs"
    return [
        f"layout    {layout['label']}; {count:,} microbatch{'es' * (count != 1)} a replica",
        f"rate      {short(found['tokens_per_s'], 3)} {unit}/s{each}",
        f"memory    {size(held['total_bytes'])} of {size(held['device_bytes'])}, {held['verdict']}",
        *(" " * 10 + line for line in below),
        *(f"{'' if place else 'cost':10}{line}" for place, line in enumerate(_cost_lines(found["cost"]))),
        _energy_line(found),
    ]


def spent_lines(found: Mapping[str, Any]) -> list[str]:
    """The tables of where a step's time goes: parts, kernels by class, the kernels that take most."""
    latency = found["latency_ms"] or 1.0
    spent = ((WORDS[name], short(ms), f"{ms / latency:.1%}") for name, ms in found["parts_ms"].items() if ms > 0)
    classes = ((name, short(ms), "") for name, ms in found["classes_ms"].items() if ms > NOTHING)
    top = (
        (
            f"{row['op']} {'x'.join(str(row[name]) for name in 'bmnk' if row[name])} {row['phase']}",
            f"{row['count']:,.0f}", short(row["latency_ms"]), f"{row['share']:.1%}", f"  {row['bound']}",
        )
        for row in found["top"]
    )  # fmt: skip
    return [
        f"source    {percentages(found['passports'])} of the kernels' time",
        f"bound by  {percentages(found['bounds'])}",
        "",
        *text_table({"where the time goes": "<36", "ms": ">10", "share": ">8"}, spent),
        "",
        *text_table({"kernels of one replica": "<36", "ms": ">10", "": ">8"}, classes),
        "",
        *text_table({"top kernels": "<40", "runs": ">6", "ms": ">10", "share": ">8", "  bound by": "<"}, top),
    ]


def costs(
    prices: Prices, device: Device, step: Step, work: Workload, tokens: float | None = None
) -> dict[str, Any]:
    """Dollars and energy of an hour, of a million tokens, and of a training run; None where no price is known."""
    from tilecast.hardware.price import KINDS, bill, per_million_tokens, training_run

    gpus, rate = step.layout.gpus, step.tokens_per_s
    found: dict[str, Any] = {"device": device.name, "hour": asdict(bill(prices, device, gpus, 1.0))}
    found["million_tokens"] = asdict(per_million_tokens(prices, device, gpus, rate)) if rate else None
    offer = prices.offer(device.name)
    if offer is not None:
        figures = offer.model_dump(mode="json", include=set(KINDS), exclude_none=True)
        for figure in figures.values():
            figure["source"] = prices.sources[figure["source"]]
        found["offer"] = {"name": offer.name, "gpus": offer.gpus, **figures}
    if tokens is not None and step.latency_ms:
        hours, run = training_run(prices, device, gpus, step.latency_ms, work.tokens, tokens)
        found["training_run"] = {"tokens": tokens, "hours": hours, **asdict(run)}
    return found


def energy(device: Device, step: Step, bounds: Mapping[str, float]) -> dict[str, Any] | None:
    """Board power and joules a token, with intervals; None where the GPU's power limit is not known."""
    from tilecast.hardware.power import joules_per_token, source, watts

    busy = sum(step.parts[name] for name in ("compute", "recompute", "optimizer"))
    spent = {bound: share * busy for bound, share in bounds.items()}
    spent["latency"] = spent.get("latency", 0.0) + max(0.0, step.latency_ms - busy)
    drawn = watts(device, spent)
    times = {"mean": step.latency_ms, "low": step.low_ms, "high": step.high_ms}
    rates = {end: step.tokens_per_s * step.latency_ms / ms if ms else 0.0 for end, ms in times.items()}
    paid = joules_per_token(drawn, step.layout.gpus, rates)
    return None if drawn is None else {"watts": drawn, "joules_per_token": paid, "source": source(device)}


def _energy_line(found: Mapping[str, Any]) -> str:
    known = found["energy"]
    if known is None or known["joules_per_token"] is None:
        return "energy    not known: no board power"
    joules, drawn = known["joules_per_token"], known["watts"]
    unit = "token" if found["sequence_length"] else "input"
    words = f"{short(joules['mean'], 3)} J/{unit} ({short(joules['low'], 3)} to {short(joules['high'], 3)})"
    return f"energy    {words}, {short(drawn['mean'], 3)} W a GPU, boards alone"


def _cost_lines(cost: Mapping[str, Any]) -> list[str]:
    from tilecast.hardware.price import KINDS

    lines = [f"no price for {cost['device']}"]
    if offer := cost.get("offer"):
        lines = [f"{offer['name']}, {offer['gpus']} GPUs each, as of {offer['on_demand']['date']}"]
    amounts = {f"{kind}_usd": f"${{}} {kind.replace('_', ' ')}" for kind in KINDS} | {"energy_kwh": "{} kWh"}
    for name, words in (("hour", "an hour"), ("million_tokens", "per 1M tokens"), ("training_run", "")):
        if paid := cost.get(name):
            paid_for = words or f"for {paid['tokens']:.4g} tokens in {short(paid['hours'])} hours"
            known = [text.format(short(paid[key])) for key, text in amounts.items() if paid[key] is not None]
            lines += [f"{', '.join(known)} {paid_for}"] if known else []
    return lines


def chrome_trace(step: Step) -> dict[str, Any]:
    """The step's events as a Chrome trace (chrome://tracing, ui.perfetto.dev): one row a pipeline stage."""
    from tilecast.multigpu.schedule import BACKWARD

    rows: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 0, "tid": stage, "args": {"name": f"stage {stage}"}}
        for stage in range(step.layout.pp)
    ]

    def add(name: str, stage: int, start_ms: float, end_ms: float) -> None:
        times = {"ts": start_ms * 1e3, "dur": (end_ms - start_ms) * 1e3}  # microseconds
        rows.append({"name": name, "cat": name.split(" ")[0], "ph": "X", "pid": 0, "tid": stage, **times})

    for event in sorted(step.events, key=lambda event: (event.stage, event.start_ms)):
        kind = "backward" if event.kind == BACKWARD else "forward"
        name = f"{kind} {event.microbatch}" + (f" chunk {event.chunk}" if event.chunk else "")
        add(name, event.stage, event.start_ms, event.end_ms)
    for stage, parts in enumerate(step.stages):
        at = max((event.end_ms for event in step.events if event.stage == stage), default=0.0)
        end = step.latency_ms - parts["waiting"]
        update = end - parts["optimizer"]
        if update > at:
            add("gradients", stage, at, update)
        if end > update:
            add("optimizer", stage, update, end)
    return {"displayTimeUnit": "ms", "traceEvents": rows}
