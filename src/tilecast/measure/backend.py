"""The interface of a device that kernels are timed on, and the ways in which it can fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tilecast.base.errors import TilecastError

Action = Callable[[], object]
LEAST, MOST = 5, 25  # repetitions of a slow and of a quick kernel
WARM_UP = 3
LOST = ("CUDA error", "CUDNN_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_EXECUTION_FAILED", "device is lost", "Xid")
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class OutOfMemory(Exception):
    """The device has no room for this kernel or model; the next one may fit."""


class Unsupported(Exception):
    """The device or the library cannot run this kernel or model; the next one may run."""


class DeviceLost(TilecastError):
    """The device no longer answers; nothing more can be measured on it."""


@dataclass(frozen=True)
class LaunchRecord:
    """One launch as the profiler saw it; grid and block are empty on a CPU."""

    name: str
    start_ms: float
    duration_ms: float
    grid: str = ""
    block: str = ""


class Backend(Protocol):
    """A device that runs and times torch code."""

    name: str  # folder of its measurements
    title: str
    kind: str  # cpu or cuda
    place: str  # torch's name of it
    resolution_ms: float  # of its clock: nothing is reported faster
    memory_bytes: float  # that a kernel may take
    dtypes: tuple[str, ...]

    def time(self, action: Action, repetitions: int, flush: bool, before: Action | None = None) -> list[float]:
        """Milliseconds of each run; `before` each, untimed, that; with `flush`, caches hold none of its data."""

    def graphed(self, action: Action) -> Action:
        """What replays the launches of `action`, recorded once, as one CUDA graph."""

    def synchronize(self) -> None:
        """Wait until the device has done its work."""

    def answers(self) -> bool:
        """Whether the device still works, after an error."""

    def launches(self, action: Action) -> list[LaunchRecord]:
        """What one run launches, in order; empty where the profiler may not look."""

    def state(self) -> dict[str, float | None]:
        """clock_hz, power_w and temperature_c at this moment; None where the driver does not say."""

    def facts(self) -> dict[str, Any]:
        """Driver, threads, notes: what belongs into the provenance record."""

    def precision(self, dtype: str) -> None:
        """Allow products in tf32 only for that format."""

    def peak_memory_bytes(self) -> float | None:
        """Most memory allocated since the last call; None where it is not counted."""

    def free(self) -> None:
        """Give cached memory back."""


@dataclass(frozen=True)
class Timing:
    """Repeated runs of one thing, summed up."""

    latency_ms: float
    low_ms: float
    high_ms: float
    repetitions: int


def outcome_of(error: Exception) -> dict[str, Any]:
    """The columns that say why nothing was timed."""
    kind = "out of memory" if isinstance(error, OutOfMemory) else "failed"
    return {"repetitions": 0, "outcome": kind, "reason": str(error)}


def timed(backend: Backend, action: Action, seconds: float, flush: bool = True) -> Timing:
    """Warm up, then repeat for about `seconds`, LEAST to MOST times: median and 5th to 95th percentile.

    Nothing is faster than the clock's resolution.
    """
    first = backend.time(action, 1, flush=False)
    warm = backend.time(action, WARM_UP - 1, flush=False) if first[0] < 1e3 * seconds / WARM_UP else first
    repetitions = int(np.clip(1e3 * seconds / max(min(warm), backend.resolution_ms), LEAST, MOST))
    samples = backend.time(action, repetitions, flush)
    low, middle, high = np.maximum(np.quantile(samples, (0.05, 0.5, 0.95)), backend.resolution_ms).tolist()
    return Timing(middle, low, high, len(samples))


@contextlib.contextmanager
def guarded(what: str, backend: Backend) -> Iterator[None]:
    """Within: what torch raises becomes OutOfMemory, Unsupported or, if the device answers no more, DeviceLost."""
    try:
        yield
    except (OutOfMemory, Unsupported, TilecastError):
        raise
    except MemoryError as error:
        raise OutOfMemory(str(error) or "out of memory") from None
    except Exception as error:  # a model's own code, a library, a driver may raise anything
        words = str(error).strip().split("\n")[0][:200]
        if any(sign in str(error) for sign in NO_MEMORY):
            raise OutOfMemory(words) from None
        if any(sign in str(error) for sign in LOST) and not backend.answers():
            problem = f"the device was lost while measuring {what} ({words}); what was measured is kept"
            raise DeviceLost(problem) from None
        raise Unsupported(f"{type(error).__name__}: {words}") from None
