"""Stages of a campaign between host and device: copies by size, and the study's pipeline, from each node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from tilecast.locality.guide import CLAIMED_BATCH
from tilecast.locality.topology import memory_nodes, read_topology
from tilecast.locality.worker import perform
from tilecast.measure.backend import Action, Backend, Timing, Unsupported
from tilecast.measure.stages import Bench

SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 24, 1 << 28, 1 << 30)
LARGEST = {"cuda": SIZES[-1], "cpu": 1 << 20}
BOTH_FROM = 1 << 24  # bytes from which copies both ways at once tell something
MODELS = ("vit0x0x0", "vit32x2x128", "vit32x4x256", "vit32x6x512", "vit16x8x768", "vit16x12x1024")
SAMPLES = {"cuda": 500, "cpu": 20}


@contextlib.contextmanager
def on_node(cpus: str) -> Iterator[None]:
    """Within: this process runs on these CPUs (`0-3,8`) alone, and memory it touches first lies beside them."""
    before = os.sched_getaffinity(0)
    chosen: set[int] = set()
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        chosen |= set(range(int(first), int(last or first) + 1))
    os.sched_setaffinity(0, chosen & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def nodes() -> dict[str, str]:
    """CPUs of each node with memory, by its number as text; one nameless node where the kernel shows none."""
    found = read_topology(smi=lambda: "")
    return {str(n["node"]): n["cpus"] for n in found["nodes"] if n["node"] in memory_nodes(found)} or {"": ""}


def copies(bench: Bench, seconds: float) -> None:
    """Copies to and from the device by size, pinned and pageable, one way and both at once, from each node."""
    place = bench.backend.place
    for node, cpus in nodes().items():
        with on_node(cpus):
            for size in (size for size in SIZES if size <= LARGEST[bench.backend.kind]):
                about = {"amount": float(size), "unit": "byte"}
                for kind in ("pinned", "pageable"):
                    for way in ("to device", "to host", *(["both ways"] if size >= BOTH_FROM else [])):
                        make = partial(_copier, size, kind, way, place)
                        bench.read(f"{size} bytes", make, about, f"{kind} {way} node {node}")


def _copier(size: int, kind: str, way: str, place: str) -> Action:
    pinned, cuda = kind == "pinned", place != "cpu"
    if not cuda and (pinned or way == "both ways"):
        raise Unsupported("host and device share their memory")
    pairs = []
    for _ in range(2 if way == "both ways" else 1):
        host = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
        pairs.append((host, torch.zeros(size, dtype=torch.uint8, device=place)))
    (host, there), (back, away) = pairs[0], pairs[-1]
    if way != "both ways":
        into, out = (there, host) if way == "to device" else (host, there)
        return lambda: into.copy_(out, non_blocking=True)
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]

    def both() -> None:
        for stream, into, out in zip(streams, (there, back), (host, away), strict=True):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                into.copy_(out, non_blocking=True)
        for stream in streams:
            torch.cuda.current_stream().wait_stream(stream)

    return both


def pipelines(bench: Bench, seconds: float) -> None:
    """The study's three-stage pipeline with each of its models, from each node: milliseconds a batch."""
    kind = bench.backend.kind
    for model in MODELS if kind == "cuda" else MODELS[:2]:
        for node, cpus in nodes().items():
            request = {
                "device": kind, "gpu": 0, "model": model, "dtype": "fp32", "compiled": False,
                "batch_size": CLAIMED_BATCH, "samples": SAMPLES[kind], "warmup": 2 * CLAIMED_BATCH,
            }  # fmt: skip
            with on_node(cpus):
                about = {"dtype": "fp32", "amount": float(CLAIMED_BATCH), "unit": "image"}
                bench.read(model, partial(partial, perform, request), about, f"node {node}", _pipeline)


def _pipeline(backend: Backend, action: Any) -> Timing:
    found = action()
    if not found["output_copied"]:
        raise Unsupported("what came back is not the model's output")
    latency = 1e3 * found["wall_s"] / found["batches"]
    return Timing(latency, latency, latency, found["batches"])
