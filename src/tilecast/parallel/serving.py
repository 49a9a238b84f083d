"""Serving a model on many GPUs: time to first token, time per output token, throughput, and what memory allows.

Requests come in batches that start together: a replica holds `microbatch` sequences for each pipeline stage, so
that every stage is busy. Time to first token (TTFT) is the prefill of that whole batch, time per output token
(TPOT) one decode step at the mean context. Waiting in a queue is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, replace

from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.registry import ModelSpec
from tilecast.parallel.layout import STANDARD, Assumptions, Layout, Work
from tilecast.parallel.memory import Memory, memory
from tilecast.parallel.step import Planner
from tilecast.predict.base import Predictor

_OF_ONE_GROUP = {"bubble": "other stages"}  # while a group is there, this stage works on another group
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # sequences of a stage's share of a batch that are tried


@dataclass(frozen=True)
class Serving:
    """One layout's figures; every range is (forecast, low, high)."""

    layout: Layout
    sequences: int  # of one replica at a time
    ttft_ms: tuple[float, float, float]
    tpot_ms: tuple[float, float, float]
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
    ) -> None:
        self.prompt, self.output, self.device, self.assume = prompt, output, device, assume
        work = Work(spec, 1, prompt, mode="inference", dtype=dtype, attention=attention, fused=fused)
        token = replace(work, phase="decode", context=prompt + output // 2)
        self._full = replace(work, phase="decode", context=prompt + output - 1)
        self._prefill = Planner(work, system, device, predictor, assume)
        self._decode = Planner(token, system, device, predictor, assume)

    def memory(self, layout: Layout) -> Memory:
        """What each stage's GPUs hold: the fullest cache, and whichever phase needs more room to work in."""
        batch = layout.dp * layout.pp * layout.microbatch
        late = memory(replace(self._full, batch=batch), layout, self.device.memory_bytes, self.assume)
        early = memory(replace(self._prefill.work, batch=batch), layout, self.device.memory_bytes, self.assume)
        return late if late.total_bytes > early.total_bytes else early

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
        """The figures of one layout, whose microbatch is a stage's share of the batch."""
        group = layout.dp * layout.microbatch
        first = sized(self._prefill, group * layout.pp).step(layout)
        one = sized(self._decode, group).step(layout)
        ends = [one.latency_ms, one.low_ms, one.high_ms]
        if layout.pp > 1:
            # Groups follow one another: a token takes one pass through the stages, or the slowest's work on all.
            two, more = (sized(self._decode, group * layout.pp * times).step(layout) for times in (1, 2))
            spans = (more.latency_ms - two.latency_ms, more.low_ms - two.low_ms, more.high_ms - two.high_ms)
            ends = [max(pair) for pair in zip(ends, spans, strict=True)]
        sequences = layout.pp * layout.microbatch
        whole_ms = first.latency_ms + (self.output - 1) * ends[0]
        return Serving(
            layout=layout,
            sequences=sequences,
            ttft_ms=(first.latency_ms, first.low_ms, first.high_ms),
            tpot_ms=(ends[0], ends[1], ends[2]),
            tokens_per_s=layout.dp * sequences * self.output / whole_ms * 1e3,
            memory=self.memory(layout),
            prefill=first.parts,
            decode={_OF_ONE_GROUP.get(name, name): spent for name, spent in one.parts.items()},
        )

    def fastest(
        self, layout: Layout, tpot_ms: float = float("inf"), sizes: Iterable[int] = SIZES
    ) -> Serving | None:
        """The batch of most tokens per second that fits and keeps TPOT within the bound; None if none does."""
        room = self.most(layout) // layout.pp
        tried = [self.serve(replace(layout, microbatch=size)) for size in sizes if size <= room]
        within = [serving for serving in tried if serving.tpot_ms[0] <= tpot_ms]
        return max(within, key=lambda serving: serving.tokens_per_s) if within else None


def sized(planner: Planner, batch: int) -> Planner:
    """The same planner for another batch; it shares all forecasts, which do not depend on it."""
    other = copy(planner)
    other.work = replace(planner.work, batch=batch)
    return other
