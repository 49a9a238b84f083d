"""A step on many GPUs in words, as plain values, and as a timeline a browser opens."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tilecast.parallel.layout import Work
from tilecast.parallel.schedule import BACKWARD, Event
from tilecast.parallel.step import Step

WORDS = {
    "compute": "kernels", "recompute": "recomputing activations", "host": "waiting for the host",
    "tp": "tensor-parallel communication", "ep": "expert-parallel communication",
    "cp": "context-parallel communication", "dp": "gradients and sharded weights",
    "pp": "passing activations between stages", "bubble": "waiting in the pipeline", "optimizer": "optimizer",
}  # fmt: skip


def as_values(step: Step, work: Work) -> dict[str, Any]:
    """Everything `tilecast forecast --system` says."""
    return {
        "model": work.spec.name,
        "mode": work.mode,
        "phase": work.phase,
        "batch": work.batch,
        "sequence_length": work.sequence,
        "dtype": work.dtype,
        "gpus": step.layout.gpus,
        "layout": asdict(step.layout),
        "microbatches": step.layout.microbatches(work.batch),
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
        },
        "stages_ms": list(step.stages),
    }


def as_text(step: Step, work: Work, system: str) -> str:
    """The same for a reader."""
    layout, held = step.layout, step.memory
    kind = work.mode if work.mode == "training" else f"inference ({work.phase})"
    gpus = f"{layout.gpus} GPU" + ("s" if layout.gpus > 1 else "")
    parts = {name: size / 1e9 for name, size in held.parts.items() if size}
    lines = [
        f"{work.spec.name} on {gpus} of {system}: {kind}, {work.batch} x {work.sequence} tokens, {work.dtype}",
        f"layout    {layout.label}; {layout.microbatches(work.batch)} microbatches a replica",
        "",
        f"latency   {step.latency_ms:.4g} ms, interval {step.low_ms:.4g} to {step.high_ms:.4g} ms",
        f"rate      {step.tokens_per_s:.4g} tokens/s, {step.tokens_per_s / layout.gpus:.4g} a GPU",
        f"memory    {held.total_bytes / 1e9:.3g} GB of {held.capacity_bytes / 1e9:.3g} GB, {held.verdict}",
        "          " + ", ".join(f"{name} {size:.2g}" for name, size in parts.items()),
        "",
        f"{'where the time goes':36}{'ms':>10}{'share':>8}",
    ]
    for name, value in step.parts.items():
        if value > 0:
            lines.append(f"{WORDS[name]:36}{value:10.4g}{value / step.latency_ms:8.1%}")
    return "\n".join(lines)


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
