"""Serving a model on many GPUs: time to first token, time per output token, throughput, and what memory allows.

A replica holds `microbatch` sequences for each pipeline stage, so that every stage is busy. Static batches start
together: time to first token (TTFT) is the prefill of the whole batch, time per output token (TPOT) one decode
step at the mean context; waiting in a queue is in neither. Continuous batching keeps as many requests in flight
and takes each prompt in between two steps: TTFT holds the wait for it, TPOT the prompts of others
(`serving.steady`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace

from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.registry import ModelSpec
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout
from tilecast.multigpu.memory import Memory, memory
from tilecast.multigpu.step import Planner, Step
from tilecast.multigpu.traffic import Traffic
from tilecast.predict.kernel import Predictor
from tilecast.serving.steady import steady

Ends = tuple[float, float, float]  # forecast, low, high
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # sequences of a stage's share of a batch that are tried


@dataclass(frozen=True)
class Serving:
    """Forecast times, throughput and memory of one layout."""

    layout: Layout
    sequences: int  # of one replica at a time
    ttft_ms: Ends
    tpot_ms: Ends
    tokens_per_s: float  # output tokens of all replicas, prefills included in the time
    memory: Memory  # at the end of the output, when the cache is fullest
    prefill: dict[str, float]  # part -> ms of the prefill, and of one decode step
    decode: dict[str, float]


class Server:
    """Forecasts of requests of `prompt` and `output` tokens on one system; kernels are forecast once."""

    def __init__(
        self,
        spec: ModelSpec,
        system: System,
        device: Device,
        predictor: Predictor,
        prompt: int,
        output: int,
        dtype: str = "bf16",
        attention: str = "fused",
        fused: bool = True,
        assume: Assumptions = STANDARD,
        continuous: bool = False,
    ) -> None:
        self.prompt, self.output, self.device, self.assume = prompt, output, device, assume
        self.continuous, self.system = continuous, system
        self.work = Workload(spec, 1, prompt, mode="inference", dtype=dtype, attention=attention, fused=fused)
        token = replace(self.work, phase="decode", context=prompt + output // 2)
        self._full = replace(token, context=prompt + output - 1)
        self._prefill = Planner(self.work, system, device, predictor, assume)
        self._decode = Planner(token, system, device, predictor, assume)

    def memory(self, layout: Layout) -> Memory:
        """What each stage's GPUs hold: the fullest cache, and whichever phase needs more room to work in."""
        batch, capacity = layout.dp * layout.pp * layout.microbatch, self.device.memory_bytes
        late = memory(replace(self._full, batch_size=batch), layout, capacity, self.assume)
        if not self.continuous:
            early = memory(replace(self.work, batch_size=batch), layout, capacity, self.assume)
            return late if late.total_bytes > early.total_bytes else early
        # one prompt at a time, while the caches of all the others are full
        prefill = replace(self.work, batch_size=layout.dp)
        one = memory(prefill, replace(layout, microbatch=1), capacity, self.assume)
        both = []
        for full, prompt in zip(late.stages, one.stages, strict=True):
            parts = {name: max(size, prompt[name]) for name, size in full.items()}
            parts["fragmentation"] = 0.0
            parts["fragmentation"] = self.assume.fragmentation * (sum(parts.values()) - parts["context"])
            both.append(parts)
        return Memory(tuple(both), capacity)

    def most(self, layout: Layout) -> int:
        """Sequences of one replica, a multiple of its stages, that memory allows; 0 if not even one a stage."""

        def fits(size: int) -> bool:
            return self.memory(replace(layout, microbatch=size)).fits

        if not fits(1):
            return 0
        low, high = 1, 2
        while fits(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low * layout.pp

    def serve(self, layout: Layout) -> Serving:
        """The figures of one layout, whose microbatch is a stage's share of the sequences."""
        group, sequences = layout.dp * layout.microbatch, layout.pp * layout.microbatch
        one = sized(self._decode, group).step(layout)
        tpot = _ends(one)
        if layout.pp > 1:
            # Groups follow one another: a token takes one pass through the stages, or the slowest's work on all.
            tpot = _each(max, tpot, _more(self._decode, layout, group * layout.pp))
        if self.continuous:
            first, ttft, tpot = self._flowing(layout, tpot)
        else:
            first = sized(self._prefill, group * layout.pp).step(layout)
            ttft = _ends(first)
        whole_ms = ttft[0] + (self.output - 1) * tpot[0]
        rate = layout.dp * sequences * self.output / whole_ms * 1e3
        # while a group waits in the pipeline, this stage works on another group
        decode = {"other stages" if name == "bubble" else name: spent for name, spent in one.parts.items()}
        return Serving(layout, sequences, ttft, tpot, rate, self.memory(layout), first.parts, decode)

    def _flowing(self, layout: Layout, step: Ends) -> tuple[Step, Ends, Ends]:
        """The prefill of one prompt; TTFT and TPOT of as many requests as `layout` holds, always in flight."""
        alone, sequences = replace(layout, microbatch=1), layout.pp * layout.microbatch
        first = sized(self._prefill, layout.dp).step(alone)
        # A prompt keeps the others waiting only while it is on the slowest stage of a pipeline.
        held = _ends(first) if layout.pp == 1 else _more(self._prefill, alone, layout.dp * layout.pp, layout.pp)
        found = [steady(ms, prompt, sequences, self.output) for ms, prompt in zip(step, held, strict=True)]
        waited, tpot = ((ends[0], ends[1], ends[2]) for ends in zip(*found, strict=True))
        beyond = _each(lambda whole, prompt: max(0.0, whole - prompt), _ends(first), held)
        return first, _each(float.__add__, waited, beyond), tpot

    def tried(self, layout: Layout, sizes: Iterable[int] = SIZES) -> list[Serving]:
        """The figures of every number of sequences a stage that fits."""
        room = self.most(layout) // layout.pp
        return [self.serve(replace(layout, microbatch=size)) for size in sizes if size <= room]


def best(tried: Iterable[Serving], ttft_ms: float = float("inf"), tpot_ms: float = float("inf")) -> Serving | None:
    """The one of most tokens per second that keeps both bounds; None if none does."""
    within = [one for one in tried if one.ttft_ms[0] <= ttft_ms and one.tpot_ms[0] <= tpot_ms]
    return max(within, key=lambda one: one.tokens_per_s, default=None)


def _ends(step: Step) -> Ends:
    return step.latency_ms, step.low_ms, step.high_ms


def _each(what: Callable[[float, float], float], one: Ends, other: Ends) -> Ends:
    return what(one[0], other[0]), what(one[1], other[1]), what(one[2], other[2])


def _more(planner: Planner, layout: Layout, batch: int, groups: int = 1) -> Ends:
    """Time that a second batch adds to the first, divided by `groups`."""
    two, one = (_ends(sized(planner, batch * times).step(layout)) for times in (2, 1))
    return _each(lambda more, less: (more - less) / groups, two, one)


def sized(planner: Planner, batch: int) -> Planner:
    """The same planner for another batch; it shares all forecasts, which do not depend on it."""
    other = copy(planner)
    other.work = replace(planner.work, batch_size=batch)
    other.traffic = Traffic(other.work, planner.links, planner.assume)
    return other
