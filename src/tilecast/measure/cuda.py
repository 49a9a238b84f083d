"""Timing on an NVIDIA GPU: CUDA events, L2 overwritten between runs, kernel names from Kineto, clocks from NVML.

`layer` and `tracer` stand for torch.cuda and the profiler, so that what happens when a GPU fails can be tested
without one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tilecast.base.errors import InputError
from tilecast.measure.backend import Action, LaunchRecord
from tilecast.measure.nvml import Nvml

FLUSH_BYTES = 512 << 20  # larger than any L2, and long enough to write that the launch is queued meanwhile
AHEAD_CYCLES = 2_000_000  # about a millisecond of waiting, while which launches queue up
RESOLUTION_MS = 0.0005  # of CUDA events, as their documentation states


class Cuda:
    """One CUDA device."""

    kind, resolution_ms = "cuda", RESOLUTION_MS

    def __init__(
        self,
        layer: Any = None,
        tracer: Callable[[Action], dict[str, Any]] | None = None,
        nvml: Nvml | None = None,
        place: str | None = None,
    ) -> None:
        self._layer = layer = layer or torch.cuda
        if not layer.is_available() or not layer.device_count():
            problem = "no CUDA device is visible to torch"
            raise InputError("device cuda", problem, "use --device cpu, or measure.mode replay or off")
        self._tracer = tracer or _kineto
        self.place = place or "cuda:0"
        properties = layer.get_device_properties(0)
        self.title = str(properties.name)
        self.name = self.title.replace(" ", "_").replace("/", "_")
        self.memory_bytes = float(properties.total_memory)
        self.properties = properties
        ampere = int(properties.major) >= 8
        self.dtypes: tuple[str, ...] = ("fp32", "tf32", "fp16", "bf16") if ampere else ("fp32", "fp16")
        self._nvml = nvml or Nvml.open(str(getattr(properties, "uuid", "")))
        self._notes: list[str] = [] if self._nvml.works else [f"no clocks, power or temperature: {self._nvml.why}"]
        self._buffer: Any = None

    def time(self, action: Action, repetitions: int, flush: bool, before: Action | None = None) -> list[float]:
        """Milliseconds of each run between two events on the device's own clock."""
        layer = self._layer
        if flush and self._buffer is None:
            self._buffer = torch.empty(FLUSH_BYTES // 4, dtype=torch.float32, device=self.place)
        pairs = [(layer.Event(enable_timing=True), layer.Event(enable_timing=True)) for _ in range(repetitions)]
        layer.synchronize()
        if not flush:
            layer._sleep(AHEAD_CYCLES)
        for start, end in pairs:
            if before:
                before()
            if flush:
                self._buffer.zero_()
            start.record()
            action()
            end.record()
        layer.synchronize()
        return [float(start.elapsed_time(end)) for start, end in pairs]

    def graphed(self, action: Action) -> Action:
        """A replay of its launches; torch wants them run on a stream of their own first."""
        layer, side = self._layer, self._layer.Stream()
        side.wait_stream(layer.current_stream())
        with layer.stream(side):
            action()
        layer.current_stream().wait_stream(side)
        graph = layer.CUDAGraph()
        with layer.graph(graph):
            action()
        replay: Action = graph.replay
        return replay

    def synchronize(self) -> None:
        """Wait for all streams."""
        self._layer.synchronize()

    def answers(self) -> bool:
        """Whether a copy there and back still works: most errors end every later call of this process too."""
        try:
            self._layer.synchronize()
            return bool(torch.ones(1, device=self.place).item())
        except RuntimeError:
            return False

    def launches(self, action: Action) -> list[LaunchRecord]:
        """Kernels of one run; where the profiler may not look, none, and a note says so."""
        try:
            trace = self._tracer(action)
        except RuntimeError as error:
            self._note(f"the profiler failed ({str(error).splitlines()[0][:120]})")
            return []
        found = _kernels(trace)
        if not found:
            self._note("the profiler shows no kernels: its user may lack the right to read GPU counters")
        return found

    def _note(self, words: str) -> None:
        if words not in self._notes:
            self._notes.append(words)

    def state(self) -> dict[str, float | None]:
        """What NVML says now."""
        return self._nvml.state()

    def facts(self) -> dict[str, Any]:
        """Driver, CUDA, clock limits, and what could not be had."""
        return {
            "driver": self._nvml.driver,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "compute_capability": f"{self.properties.major}.{self.properties.minor}",
            "multiprocessors": int(self.properties.multi_processor_count),
            "memory_bytes": self.memory_bytes,
            "clock": "CUDA events",
            "limits": self._nvml.limits(),
            "notes": list(self._notes),
        }

    def precision(self, dtype: str) -> None:
        """Products in tf32 only where they are measured as tf32."""
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"

    def peak_memory_bytes(self) -> float | None:
        """Peak since the last call."""
        peak = float(self._layer.max_memory_allocated())
        self._layer.reset_peak_memory_stats()
        return peak

    def free(self) -> None:
        """Return cached blocks, the flush buffer too: a large model may need its room."""
        self._buffer = None
        self._layer.empty_cache()


def _kineto(action: Action) -> dict[str, Any]:
    """The trace of one run as Kineto writes it."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        action()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _kernels(trace: dict[str, Any]) -> list[LaunchRecord]:
    """Kernels and copies of a trace, in the order they started."""
    events = [
        event
        for event in trace.get("traceEvents", [])
        if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset") and "ts" in event
    ]
    events.sort(key=lambda event: event["ts"])
    begin = events[0]["ts"] if events else 0.0
    return [
        LaunchRecord(
            str(event["name"]),
            (event["ts"] - begin) / 1e3,
            float(event.get("dur", 0.0)) / 1e3,
            _axes(event, "grid"),
            _axes(event, "block"),
        )
        for event in events
    ]


def _axes(event: dict[str, Any], name: str) -> str:
    return "x".join(str(size) for size in event.get("args", {}).get(name, []))
