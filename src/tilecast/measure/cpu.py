"""Timing on the processor: a monotonic clock, a fixed number of threads, caches flushed by writing over them."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import torch

from tilecast.base.errors import InputError
from tilecast.measure.backend import Action, LaunchRecord, Unsupported

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
DEFAULT_CACHE_BYTES = 32 << 20
LARGEST_FLUSH_BYTES = 256 << 20


class Cpu:
    """This machine's processor, with a fixed number of threads."""

    kind = place = "cpu"
    dtypes: tuple[str, ...] = ("fp32", "bf16")  # fp16 arithmetic is emulated on most, tf32 exists on none

    def __init__(self, threads: int = 1) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not 1 <= threads <= cores:
            raise InputError("threads", f"{threads} on {cores} cores", f"give 1 to {cores}")
        torch.set_num_threads(threads)
        self.threads, self.cores = threads, cores
        model = " ".join(proc("cpuinfo", "model name")) or platform.processor() or platform.machine() or "unknown"
        self.title = f"{model}, {threads} thread{'s' if threads > 1 else ''}"
        self.name = "CPU_" + re.sub(r"[^A-Za-z0-9]+", "_", model).strip("_") + f"_{threads}t"
        self.resolution_ms = _resolution_ms()
        available = proc("meminfo", "MemAvailable")
        self.memory_bytes = 0.5 * (float(available[0]) * 1024 if available else 4e9)
        self.cache_bytes = _last_level_bytes()
        self._flush: torch.Tensor | None = None

    def time(self, action: Action, repetitions: int, flush: bool, before: Action | None = None) -> list[float]:
        """Milliseconds of each run by the monotonic clock."""
        samples = []
        for _ in range(repetitions):
            if before:
                before()
            if flush:
                self._write_over()
            start = time.perf_counter_ns()
            action()
            samples.append((time.perf_counter_ns() - start) / 1e6)
        return samples

    def _write_over(self) -> None:
        if self._flush is None:
            size = min(2 * self.cache_bytes, LARGEST_FLUSH_BYTES)
            self._flush = torch.zeros(size // 4, dtype=torch.float32)
        self._flush.add_(1.0)

    def graphed(self, action: Action) -> Action:
        """Refused."""
        raise Unsupported("a CPU has no CUDA graphs")

    def synchronize(self) -> None:
        """Done already."""

    def answers(self) -> bool:
        """Always."""
        return True

    def launches(self, action: Action) -> list[LaunchRecord]:
        """The outermost operations of one run."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as profiler:
            action()
        events = sorted(profiler.events(), key=lambda event: event.time_range.start)
        found: list[LaunchRecord] = []
        begin, until = None, float("-inf")
        for event in events:
            span = event.time_range
            if not event.name.startswith("aten::") or span.start < until:
                continue
            begin = span.start if begin is None else begin
            until = span.end
            found.append(LaunchRecord(event.name, (span.start - begin) / 1e3, (span.end - span.start) / 1e3))
        return found

    def state(self) -> dict[str, float | None]:
        """Not read on a CPU: a virtual machine does not report it."""
        return {"clock_hz": None, "power_w": None, "temperature_c": None}

    def facts(self) -> dict[str, Any]:
        """What the figures depend on besides the code."""
        notes, load = ["clock rate, power and temperature are not read on a CPU"], os.getloadavg()[0]
        if load > self.cores + 0.5:
            notes.append("others used the machine meanwhile: more processes than cores were ready to run")
        return {
            "threads": self.threads,
            "architecture": platform.machine(),
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "cache_bytes": self.cache_bytes,
            "clock": "monotonic",
            "load_average": load,
            "notes": notes,
        }

    def precision(self, dtype: str) -> None:
        """A CPU has one single precision."""

    def peak_memory_bytes(self) -> float | None:
        """Not counted."""
        return None

    def free(self) -> None:
        """Nothing is cached."""


def proc(file: str, name: str) -> list[str]:
    """The words that a file of /proc first gives under a name; none where it does not."""
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith(name)), [])


def _resolution_ms() -> float:
    """The smallest difference of two clock readings in a row."""
    steps = []
    for _ in range(200):
        start = time.perf_counter_ns()
        while (now := time.perf_counter_ns()) == start:
            pass
        steps.append(now - start)
    return min(steps) / 1e6


def _last_level_bytes() -> int:
    sizes = []
    for file in CACHES.glob("index*/size"):
        if match := re.fullmatch(r"(\d+)([KM])", file.read_text().strip()):
            sizes.append(int(match[1]) << (10 if match[2] == "K" else 20))
    return max(sizes, default=DEFAULT_CACHE_BYTES)
