"""What a campaign times besides kernels and models: peak rates, launches, attention by back end, narrow formats.

Each stage is a function of a Bench and the seconds it may take; what was timed before is passed over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from tilecast.measure.backend import (
    Action,
    Backend,
    DeviceLost,
    OutOfMemory,
    Timing,
    Unsupported,
    guarded,
    outcome_of,
    timed,
)
from tilecast.measure.grid import RANGES
from tilecast.measure.kernels import action as kernel
from tilecast.measure.models import backward, differentiable, title
from tilecast.measure.store import Run

PEAK_EDGE = {"cuda": 8192, "cpu": 512}  # of the products whose rate is taken
COPIED_BYTES = {"cuda": 1 << 30, "cpu": 1 << 24}
SAMPLE_S, REST_S = 0.25, 0.1  # of a course of time; idle before a rested sample
RESTED = 4  # rested samples
LAUNCHES = 100  # of one operation in a row
HARNESS_RUNS, HARNESS_BEST, HARNESS_S = 25, 5, 4.0  # the artifact's rule: mean of the fastest 5 of 25
TINY: dict[str, dict[str, Any]] = {
    "bmm": {"b": 1, "m": 16, "n": 16, "k": 16}, "linear": {"b": 1, "m": 16, "n": 64, "k": 64},
    "attention": {"b": 8, "m": 16, "n": 16, "k": 64}, "memory": {"b": 16, "m": 64, "shape": "rows=100"},
    "conv": {"b": 1, "m": 196, "n": 8, "k": 8, "shape": "images=1 edge=14 channels=8 window=1 stride=1"},
}  # fmt: skip
HEADS, HEAD_DIM = 32, 128  # of the attention that back ends are compared on
QUERIES = ((128, 128), (2048, 2048), (1, 128), (1, 1024), (1, 2048))  # new tokens, tokens attended to
BACK_ENDS = {"math": "MATH", "efficient": "EFFICIENT_ATTENTION", "flash": "FLASH_ATTENTION",
             "cudnn": "CUDNN_ATTENTION"}  # fmt: skip
NARROW = ((128, 4096, 4096), (2048, 4096, 4096), (2048, 11008, 4096), (8192, 8192, 8192))  # m, n, k in fp8

Timer = Callable[[Backend, Action], Timing]


class Bench:
    """Times the things of one stage and writes each down, also what fails."""

    def __init__(self, backend: Backend, run: Run, stage: str, seconds: float = 0.05) -> None:
        self.backend, self.run, self.stage, self.seconds = backend, run, stage, seconds

    def read(
        self, item: str, make: Callable[[], Action], about: Mapping[str, Any], variant: str = "",
        timer: Timer | None = None, place: int = 0,
    ) -> Timing | None:  # fmt: skip
        """Time what `make` makes, unless it was; `about` it: dtype, amount and unit."""
        row = {"stage": self.stage, "item": item, "variant": variant, "place": place, "dtype": "", **about}
        if self.run.key(row) in self.run.known:
            return None
        found = None
        try:
            with guarded(item, self.backend):
                self.backend.precision(row["dtype"])
                found = (timer or self._plainly)(self.backend, make())
            row |= vars(found) | self.backend.state() | {"outcome": "measured"}
        except (OutOfMemory, Unsupported) as error:
            self.backend.free()
            row |= outcome_of(error)
        except DeviceLost as error:  # not tried again
            self.run.add(row | outcome_of(error))
            raise
        self.run.add(row)
        return found

    def _plainly(self, backend: Backend, action: Action) -> Timing:
        return timed(backend, action, self.seconds, flush=False)


def kernel_words(row: Mapping[str, Any]) -> str:
    """A kernel as readings name it."""
    shape = f" {row['shape']}" if isinstance(row["shape"], str) and row["shape"] else ""
    return f"{row['family']} {row['op']} {row['dtype']} {row['b']}x{row['m']}x{row['n']}x{row['k']}{shape}"


def in_graph(bench: Bench) -> Callable[[dict[str, Any], Action], None]:
    """Times a kernel of the plan once more, replayed as a CUDA graph."""

    def also(row: dict[str, Any], action: Action) -> None:
        about, make = {"dtype": row["dtype"]}, partial(bench.backend.graphed, action)
        bench.read(kernel_words(row), make, about, "graph")

    return also


def by_harness(bench: Bench) -> Callable[[Mapping[str, Any], Action, Action | None], None]:
    """Times a model's passes by the artifact's rule."""

    def best(backend: Backend, action: Action, before: Action | None = None) -> Timing:
        first = backend.time(action, 1, False, before)[0]
        fitting = int(np.clip(1e3 * HARNESS_S / max(first, 1e-3), HARNESS_BEST, HARNESS_RUNS))
        samples = sorted(backend.time(action, fitting, False, before))
        fastest = samples[:HARNESS_BEST]
        return Timing(float(np.mean(fastest)), fastest[0], fastest[-1], len(samples))

    def also(work: Mapping[str, Any], step: Action, forward: Action | None) -> None:
        about = {"dtype": work["dtype"]}
        bench.read(title(work), lambda: forward or step, about, "forward", best)
        if forward is None:
            return
        outputs: list[torch.Tensor] = []

        def again() -> None:
            outputs[:] = differentiable(forward())

        timer = partial(best, before=again)
        bench.read(title(work), lambda: partial(backward, outputs), about, "backward", timer)

    return also


def peaks(bench: Bench, seconds: float) -> None:
    """The rate of a large product in each format and of a copy: after a rest, and without rest as time goes on."""
    backend = bench.backend
    edge, size = PEAK_EDGE[backend.kind], COPIED_BYTES[backend.kind]
    made: list[tuple[str, str, float, str, Callable[[], Action]]] = [
        (f"product {dtype}", dtype, 2.0 * edge**3, "FLOP", partial(_product, backend, dtype, edge))
        for dtype in (*backend.dtypes, "fp8")
    ]
    made.append(("copy", "", 2.0 * size, "byte", partial(_copy, backend, size)))
    for item, dtype, amount, unit, make in made:
        about, once = {"dtype": dtype, "amount": amount, "unit": unit}, cache(make)
        rested = [bench.read(item, once, about, "rested", _after_a_rest, place) for place in range(RESTED)]
        first = next(filter(None, rested), None)
        if first is None:
            continue
        timer = _row_of(max(1, round(1e3 * SAMPLE_S / first.latency_ms)))
        ends, place = time.monotonic() + seconds / len(made), 0
        while time.monotonic() < ends:
            bench.read(item, once, about, "sustained", timer, place)
            place += 1
    backend.free()


def _product(backend: Backend, dtype: str, edge: int) -> Action:
    if dtype == "fp8":
        return _narrow(backend.place, edge, edge, edge, quantised=False)
    row = {"family": "bmm", "op": "bmm", "dtype": dtype, "b": 1, "shape": ""} | dict.fromkeys("mnk", edge)
    return kernel(row, backend.place)


def _copy(backend: Backend, size: int) -> Action:
    source = torch.ones(size // 4, dtype=torch.float32, device=backend.place)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _after_a_rest(backend: Backend, action: Action) -> Timing:
    backend.time(action, 1, flush=False)
    time.sleep(REST_S)
    latency = max(backend.time(action, 1, flush=False)[0], backend.resolution_ms)
    return Timing(latency, latency, latency, 1)


def _row_of(count: int) -> Timer:
    """Times `count` runs without a rest as one: the mean of them."""

    def timer(backend: Backend, action: Action) -> Timing:
        def many() -> None:
            for _ in range(count):
                action()

        latency = max(backend.time(many, 1, flush=False)[0] / count, backend.resolution_ms / count)
        return Timing(latency, latency, latency, count)

    return timer


def launches(bench: Bench, seconds: float) -> None:
    """What the host takes to launch each operation, and what each takes in a CUDA graph of many."""
    for family, (operations, _) in RANGES.items():
        for op in operations:
            row: dict[str, Any] = {"family": family, "op": op, "dtype": "fp32", "shape": "", "n": 0, "k": 0}
            row |= TINY.get(family, {"b": 16, "m": 64})

            about = {"dtype": "fp32", "amount": LAUNCHES, "unit": "launch"}
            many = partial(_many, row, bench.backend.place)
            bench.read(f"{family} {op}", many, about, "host", _issued)
            bench.read(f"{family} {op}", partial(_as_graph, bench.backend, many), about, "graph")


def _as_graph(backend: Backend, make: Callable[[], Action]) -> Action:
    return backend.graphed(make())


def _many(row: Mapping[str, Any], place: str) -> Action:
    one = kernel(row, place)
    return lambda: [one() for _ in range(LAUNCHES)]


def _issued(backend: Backend, action: Action) -> Timing:
    """The host's time until everything is launched; the device may still work."""
    samples = []
    for _ in range(8):
        backend.synchronize()
        start = time.perf_counter_ns()
        action()
        samples.append((time.perf_counter_ns() - start) / 1e6)
    backend.synchronize()
    low, middle, high = np.maximum(np.quantile(samples[2:], (0.05, 0.5, 0.95)), backend.resolution_ms).tolist()
    return Timing(middle, low, high, len(samples) - 2)


def attention(bench: Bench, seconds: float) -> None:
    """Attention by each back end of the library, and as the library chooses."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    for new, cached in QUERIES if bench.backend.kind == "cuda" else QUERIES[:1]:
        shape = f"heads={HEADS} width={HEAD_DIM} new={new} cached={cached}"
        row: dict[str, Any] = {"family": "attention", "op": "sdpa", "dtype": "bf16"}
        row |= {"b": HEADS, "m": new, "n": cached, "k": HEAD_DIM}
        about = {"dtype": "bf16", "amount": 4.0 * HEADS * new * cached * HEAD_DIM, "unit": "FLOP"}
        make = partial(kernel, row, bench.backend.place)
        bench.read(shape, make, about, "as chosen")
        for name, member in BACK_ENDS.items():
            with sdpa_kernel([getattr(SDPBackend, member)]):
                bench.read(shape, make, about, name)


def narrow(bench: Bench, seconds: float) -> None:
    """Products in fp8, of inputs in fp8 and of inputs that are converted first; and in bf16."""
    place = bench.backend.place
    for m, n, k in NARROW if bench.backend.kind == "cuda" else NARROW[:1]:
        about, name = {"dtype": "fp8", "amount": 2.0 * m * n * k, "unit": "FLOP"}, f"{m}x{n}x{k}"
        bench.read(name, partial(_narrow, place, m, n, k, False), about, "fp8")
        bench.read(name, partial(_narrow, place, m, n, k, True), about, "bf16 to fp8")
        row = {"family": "linear", "op": "linear", "dtype": "bf16", "b": 1, "m": m, "n": n, "k": k}
        bench.read(name, partial(kernel, row, place), about | {"dtype": "bf16"}, "bf16")


def _narrow(place: str, m: int, n: int, k: int, quantised: bool) -> Action:
    fp8, one = torch.float8_e4m3fn, torch.ones((), device=place)
    wide = torch.rand(m, k, device=place, dtype=torch.bfloat16)
    left, right = wide.to(fp8), torch.rand(n, k, device=place, dtype=torch.bfloat16).to(fp8).t()

    def product() -> object:
        rows = (wide * (1 / wide.abs().amax())).to(fp8) if quantised else left
        return torch._scaled_mm(rows, right, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

    return product
