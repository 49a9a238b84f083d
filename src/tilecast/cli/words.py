"""Forecasts as the commands give them: text for a reader, plain values for JSON, a timeline for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tilecast.cli.text_table import short, text_table

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


def model_text(result: Mapping[str, Any], title: str) -> str:
    """The forecast of one model on one GPU."""
    memory, latency = result["memory"], result["latency_ms"]
    after = f" after {result['context']}" if result["context"] else ""
    kind = f"inference ({result['phase']}{after})" if result["mode"] == "inference" else result["mode"]
    interval = "no interval claimed"
    if result["low_ms"] is not None:
        interval = f"80 % interval {result['low_ms']:.4g} to {result['high_ms']:.4g} ms"
    used, held = memory["total_bytes"], memory["device_bytes"]
    parts = (name for name in memory if memory[name] and name not in ("total_bytes", "device_bytes"))
    kept = ", ".join(f"{name.removesuffix('_bytes')} {memory[name] / 1e9:.3g}" for name in parts)
    phases = ", ".join(f"{name} {spent:.4g} ms" for name, spent in result["phases_ms"].items())
    classes = (
        (name, f"{spent:.4g}", f"{spent / max(latency, 1e-12):.1%}") for name, spent in result["classes"].items()
    )
    top = (
        (
            f"{row['op']} {'x'.join(str(row[name]) for name in 'bmnk' if row[name])} {row['phase']}",
            str(row["count"]), f"{row['latency_ms']:.4g}", f"{row['share']:.1%}", f"  {row['bound']}",
        )
        for row in result["top"]
    )  # fmt: skip
    lines = [
        f"{result['model']} on {title}: {kind}, {result['batch_size']} x {result['sequence_length']} tokens, "
        f"{result['dtype']}",
        "",
        f"latency   {latency:.4g} ms, {interval} [{result['predictor']}]",
        f"memory    {used / 1e9:.3g} GB of {held / 1e9:.3g} GB, "
        f"{'fits' if used <= held else 'does not fit'}: {kept}",
        f"passport  {_percentages(result['passports'])} of the time",
        f"bound by  {_percentages(result['bounds'])}",
        *([f"phases    {phases}"] if len(result["phases_ms"]) > 1 else []),
        "",
        *text_table({"kernel class": "<14", "ms": ">10", "share": ">8"}, classes),
        "",
        *text_table({"top kernels": "<40", "runs": ">6", "ms": ">10", "share": ">8", "  bound by": "<"}, top),
    ]
    return "\n".join(lines)


def _percentages(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005)


def step_values(step: Step, work: Workload) -> dict[str, Any]:
    """The forecast of a step: the JSON of `tilecast forecast --system`."""
    held = step.memory
    return {
        "model": work.spec.name,
        "mode": work.mode,
        "phase": work.phase,
        "batch": work.batch_size,
        "sequence_length": work.sequence_length,
        "dtype": work.dtype,
        "gpus": step.layout.gpus,
        "layout": asdict(step.layout),
        "microbatches": step.layout.microbatches(work.batch_size),
        **{name: getattr(step, name) for name in ("latency_ms", "low_ms", "high_ms", "tokens_per_s")},
        "parts_ms": step.parts,
        "bubble_share": step.bubble_share,
        "memory": {
            "fits": held.fits,
            "verdict": held.verdict,
            "total_bytes": held.total_bytes,
            "device_bytes": held.capacity_bytes,
            "stages": list(held.stages),
            "stage_verdicts": held.stage_verdicts,
        },
        "stages_ms": list(step.stages),
    }


def step_text(step: Step, work: Workload, system: str, cost: Mapping[str, Any] | None = None) -> str:
    """The forecast of a step, for a reader."""
    layout, held = step.layout, step.memory
    kind = work.mode if work.mode == "training" else f"inference ({work.phase})"
    gpus = f"{layout.gpus} GPU" + ("s" if layout.gpus > 1 else "")
    verdicts = held.stage_verdicts if layout.pp > 1 else []
    below = [", ".join(f"{name} {size / 1e9:.2g}" for name, size in held.parts.items() if size)]
    below += verdicts[:STAGES]
    below += [f"{len(verdicts) - STAGES} more lines of stages: see --json"] if len(verdicts) > STAGES else []
    spent = (
        (WORDS[name], f"{value:.4g}", f"{value / step.latency_ms:.1%}")
        for name, value in step.parts.items()
        if value > 0
    )
    lines = [
        f"{work.spec.name} on {gpus} of {system}: {kind}, "
        f"{work.batch_size} x {work.sequence_length} tokens, {work.dtype}",
        f"layout    {layout.label}; {layout.microbatches(work.batch_size)} microbatches a replica",
        "",
        f"latency   {step.latency_ms:.4g} ms, interval {step.low_ms:.4g} to {step.high_ms:.4g} ms",
        f"rate      {step.tokens_per_s:.4g} tokens/s, {step.tokens_per_s / layout.gpus:.4g} a GPU",
        f"memory    {held.total_bytes / 1e9:.3g} GB of {held.capacity_bytes / 1e9:.3g} GB, {held.verdict}",
        *(" " * 10 + line for line in below),
        *(f"{'' if place else 'cost':10}{line}" for place, line in enumerate(_cost_lines(cost) if cost else [])),
        "",
        *text_table({"where the time goes": "<36", "ms": ">10", "share": ">8"}, spent),
    ]
    return "\n".join(lines)


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
