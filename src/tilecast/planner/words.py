"""A step on many GPUs in words, as plain values, and as a timeline a browser opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tilecast.hardware.device import Device
from tilecast.hardware.price import KINDS, Prices, bill, per_million_tokens, training_run
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout
from tilecast.multigpu.schedule import BACKWARD, Event
from tilecast.multigpu.step import Step
from tilecast.serving.server import Server, best

STAGES = 16  # verdicts of stages that are printed; the values hold all

WORDS = {
    "compute": "kernels", "recompute": "recomputing activations", "host": "waiting for the host",
    "tp": "tensor-parallel communication", "ep": "expert-parallel communication",
    "cp": "context-parallel communication", "dp": "gradients and sharded weights",
    "pp": "passing activations between stages", "bubble": "waiting in the pipeline", "optimizer": "optimizer",
}  # fmt: skip


def as_values(step: Step, work: Workload) -> dict[str, Any]:
    """The forecast of a step as plain values: the JSON of `tilecast forecast --system`."""
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
        "latency_ms": step.latency_ms,
        "low_ms": step.low_ms,
        "high_ms": step.high_ms,
        "tokens_per_s": step.tokens_per_s,
        "parts_ms": step.parts,
        "bubble_share": step.bubble_share,
        "memory": {
            "fits": step.memory.fits,
            "verdict": step.memory.verdict,
            "total_bytes": step.memory.total_bytes,
            "device_bytes": step.memory.capacity_bytes,
            "stages": list(step.memory.stages),
            "stage_verdicts": step.memory.stage_verdicts,
        },
        "stages_ms": list(step.stages),
    }


def as_text(step: Step, work: Workload, system: str, cost: Mapping[str, Any] | None = None) -> str:
    """The forecast as text."""
    layout, held = step.layout, step.memory
    kind = work.mode if work.mode == "training" else f"inference ({work.phase})"
    gpus = f"{layout.gpus} GPU" + ("s" if layout.gpus > 1 else "")
    parts = {name: size / 1e9 for name, size in held.parts.items() if size}
    lines = [
        f"{work.spec.name} on {gpus} of {system}: {kind}, "
        f"{work.batch_size} x {work.sequence_length} tokens, {work.dtype}",
        f"layout    {layout.label}; {layout.microbatches(work.batch_size)} microbatches a replica",
        "",
        f"latency   {step.latency_ms:.4g} ms, interval {step.low_ms:.4g} to {step.high_ms:.4g} ms",
        f"rate      {step.tokens_per_s:.4g} tokens/s, {step.tokens_per_s / layout.gpus:.4g} a GPU",
        f"memory    {held.total_bytes / 1e9:.3g} GB of {held.capacity_bytes / 1e9:.3g} GB, {held.verdict}",
        "          " + ", ".join(f"{name} {size:.2g}" for name, size in parts.items()),
    ]
    told = held.stage_verdicts if layout.pp > 1 else []
    lines += [f"          {verdict}" for verdict in told[:STAGES]]
    lines += [f"          {len(told) - STAGES} more lines of stages: see --json"] if len(told) > STAGES else []
    if cost:
        lines += [f"{'cost':10}" + ("\n" + " " * 10).join(_cost_words(cost))]
    lines += ["", f"{'where the time goes':36}{'ms':>10}{'share':>8}"]
    for name, value in step.parts.items():
        if value > 0:
            lines.append(f"{WORDS[name]:36}{value:10.4g}{value / step.latency_ms:8.1%}")
    return "\n".join(lines)


def costs(
    prices: Prices, device: Device, step: Step, work: Workload, tokens: float | None = None
) -> dict[str, Any]:
    """Dollars and energy of an hour, of a million tokens, and of a training run; None where no price is known."""
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


def _cost_words(cost: Mapping[str, Any]) -> list[str]:
    offer = cost.get("offer")
    if offer is None:
        lines = [f"no price for {cost['device']}"]
    else:
        lines = [f"{offer['name']}, {offer['gpus']} GPUs each, as of {offer['on_demand']['date']}"]
    for name, words in (("hour", "an hour"), ("million_tokens", "per 1M tokens"), ("training_run", "")):
        paid = cost.get(name)
        if not paid:
            continue
        amounts = {f"{kind}_usd": f"${{}} {kind.replace('_', ' ')}" for kind in KINDS} | {"energy_kwh": "{} kWh"}
        told = [text.format(_short(paid[key])) for key, text in amounts.items() if paid[key] is not None]
        words = words or f"for {paid['tokens']:.4g} tokens in {_short(paid['hours'])} hours"
        lines += [f"{', '.join(told)} {words}"] if told else []
    return lines


def _short(value: float) -> str:
    """Four digits, thousands set apart."""
    return f"{float(f'{value:.4g}'):,.10g}"


def serving_values(server: Server, layout: Layout, prices: Prices, bounds: Mapping[str, float]) -> dict[str, Any]:
    """The forecast of serving as plain values: every number of requests that fits, and the best in bounds."""
    tried = server.tried(replace(layout, microbatch=1))
    within = best(tried, **bounds)
    rows = []
    for one in tried:
        million = per_million_tokens(prices, server.device, layout.gpus, one.tokens_per_s)
        rows.append(
            {
                "requests": one.sequences * layout.dp,
                **{f"{name}{end}_ms": value for name, ends in (("ttft", one.ttft_ms), ("tpot", one.tpot_ms))
                   for end, value in zip(("", "_low", "_high"), ends, strict=True)},
                "tokens_per_s": one.tokens_per_s,
                "memory_gb": one.memory.total_bytes / 1e9,
                "usd_per_million_tokens": million.on_demand_usd,
            }
        )  # fmt: skip
    return {
        "model": server.work.spec.name,
        "system": server.system.title,
        "device": server.device.name,
        "batching": "continuous" if server.continuous else "static",
        "prompt": server.prompt,
        "output": server.output,
        "layout": replace(layout, microbatch=1).label.replace(" mb1", ""),
        "gpus": layout.gpus,
        "most": server.most(layout) * layout.dp,
        "memory_of_one": server.memory(replace(layout, microbatch=1)).verdict,
        "bounds": dict(bounds),
        "best": None if within is None else within.sequences * layout.dp,
        "requests": rows,
    }


def serving_text(values: Mapping[str, Any]) -> str:
    """The forecast as text."""
    lines = [
        f"{values['model']} on {values['gpus']} x {values['device']} of {values['system']}: serving, "
        f"{values['batching']} batching, prompts of {values['prompt']} and answers of {values['output']} tokens",
        f"layout    {values['layout']}; at most {values['most']:,} requests at once fit",
    ]
    if not values["requests"]:
        return "\n".join([*lines, f"memory    of one request a stage: {values['memory_of_one']}"])
    head = ("requests", "TTFT ms", "TPOT ms", "tokens/s", "memory GB", "$/1M tokens")
    lines += ["", "".join(f"{name:>13}" for name in head)]
    for row in values["requests"]:
        price = row["usd_per_million_tokens"]
        cells = (
            f"{row['requests']:,}", f"{row['ttft_ms']:,.4g}", f"{row['tpot_ms']:,.4g}",
            f"{row['tokens_per_s']:,.4g}", f"{row['memory_gb']:.1f}",
            "no price" if price is None else f"{price:,.4g}",
        )  # fmt: skip
        lines.append("".join(f"{cell:>13}" for cell in cells))
    limits = " and ".join(f"{name[:4].upper()} within {limit:g} ms" for name, limit in values["bounds"].items())
    which = f"{values['best']:,} requests at once" if values["best"] is not None else "none"
    return "\n".join([*lines, "", f"most tokens per second{f', {limits}' if limits else ''}: {which}"])


def chrome_trace(step: Step) -> dict[str, Any]:
    """The step's events as a Chrome trace (chrome://tracing, ui.perfetto.dev): one row a pipeline stage."""
    rows: list[dict[str, Any]] = [
        {"name": "thread_name", "ph": "M", "pid": 0, "tid": stage, "args": {"name": f"stage {stage}"}}
        for stage in range(step.layout.pp)
    ]
    rows += [_row(_name(event), event.stage, event.start_ms, event.end_ms) for event in _sorted(step)]
    for stage, parts in enumerate(step.stages):
        at = max((event.end_ms for event in step.events if event.stage == stage), default=0.0)
        end = step.latency_ms - parts["waiting"]
        update = end - parts["optimizer"]
        if update > at:
            rows.append(_row("gradients", stage, at, update))
        if end > update:
            rows.append(_row("optimizer", stage, update, end))
    return {"displayTimeUnit": "ms", "traceEvents": rows}


def _sorted(step: Step) -> list[Event]:
    return sorted(step.events, key=lambda event: (event.stage, event.start_ms))


def _name(event: Event) -> str:
    kind = "backward" if event.kind == BACKWARD else "forward"
    return f"{kind} {event.microbatch}" + (f" chunk {event.chunk}" if event.chunk else "")


def _row(name: str, stage: int, start_ms: float, end_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "cat": name.split(" ")[0],
        "ph": "X",
        "pid": 0,
        "tid": stage,
        "ts": start_ms * 1e3,  # microseconds
        "dur": (end_ms - start_ms) * 1e3,
    }
