"""A GPU that plays a script: torch.cuda as far as measuring uses it, with its own clock, and failures on demand.

Tensors lie on the CPU, and what runs on them is real; only time, streams and graphs are played. `fail` is called
with the number of each event that is recorded, and may raise what a driver raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch

from tilecast.measure.cuda import Cuda
from tilecast.measure.nvml import Nvml

STEP_MS = 0.01  # from one recorded event to the next


class Layer:
    """torch.cuda, played."""

    def __init__(self, name: str = "NVIDIA H200", fail: Callable[[int], None] | None = None) -> None:
        self.clock, self.events, self.lost, self.fail = 0.0, 0, False, fail or nothing
        self.present, self.step_ms, self.slept = True, STEP_MS, 0
        self.properties = SimpleNamespace(
            name=name,
            total_memory=1e9,
            major=9,
            minor=0,
            multi_processor_count=132,
            uuid="x",
            L2_cache_size=50 << 20,
        )
        layer = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                self.at = 0.0

            def record(self) -> None:
                layer.answer()
                layer.events += 1
                layer.fail(layer.events)
                layer.clock += layer.step_ms
                self.at = layer.clock

            def elapsed_time(self, other: Event) -> float:
                return other.at - self.at

        self.Event = Event

    def answer(self) -> None:
        """Refuse, as a driver does after the device is lost."""
        if self.lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def is_available(self) -> bool:
        return self.present

    def device_count(self) -> int:
        return int(self.present)

    def get_device_properties(self, index: int) -> Any:
        return self.properties

    def synchronize(self) -> None:
        self.answer()

    def _sleep(self, cycles: int) -> None:
        self.answer()
        self.slept += 1

    def empty_cache(self) -> None:
        self.answer()

    def max_memory_allocated(self) -> int:
        return 123

    def reset_peak_memory_stats(self) -> None: ...

    def Stream(self) -> Any:
        return SimpleNamespace(wait_stream=lambda other: None)

    current_stream = Stream

    @contextlib.contextmanager
    def stream(self, one: Any) -> Iterator[None]:
        yield

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: None)

    @contextlib.contextmanager
    def graph(self, one: Any) -> Iterator[None]:
        yield


def nothing(number: int) -> None:
    """No failure."""


def scripted(layer: Layer, trace: Any = None, nvml: Nvml | None = None) -> Cuda:
    """The CUDA backend over a played layer; `trace` is what the profiler gives, or raises."""

    def tracer(action: Callable[[], object]) -> dict[str, Any]:
        action()
        if isinstance(trace, Exception):
            raise trace
        return (
            trace
            if trace is not None
            else {"traceEvents": [{"cat": "kernel", "name": "played", "ts": 1, "dur": 5, "args": {}}]}
        )

    backend = Cuda(layer=layer, tracer=tracer, nvml=nvml or Nvml(None, None, "no driver here"), place="cpu")
    backend._buffer = torch.zeros(16)  # half a gigabyte is written over on a GPU
    return backend
