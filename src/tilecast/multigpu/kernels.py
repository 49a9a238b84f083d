"""Forecasts of one GPU's kernels by part of the model, and the time the host adds by launching them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.graph.kernels import Kernel
from tilecast.hardware.device import Device
from tilecast.models.workload import Workload
from tilecast.multigpu.shard import Shape, Share, Traces, share
from tilecast.predict import formats
from tilecast.predict.columns import Columns, of_rows, some
from tilecast.predict.interval import total
from tilecast.predict.kernel import HOST_CLASSES, HOSTS, HostAware, Predictor, forecast
from tilecast.predict.model import described
from tilecast.predict.physics.throttle import sustained

_ENDS = ("latency_ms", "low_ms", "high_ms")
_PARTS = ("first", "layer", "last")
_PASSES = ("forward", "backward", "optimizer")
_BESIDE = ("core", "copies")  # phases that are no part of a pass
_PHASES = (*_PASSES, *_BESIDE)
_RUN = 2 * len(HOSTS) + 1  # numbers of a Run
# ASSUME: a kernel with next to nothing to do takes 3 us in a CUDA graph (A. Gray, "Getting Started with CUDA
# Graphs", NVIDIA 2019: 3.4 us a kernel, of which 2.9 us it runs), and otherwise what streaming its bytes takes.
LEAST_MS, STREAM_SHARE = 0.003, 0.85


class Run(NamedTuple):
    """A sequence of kernels: host time to launch it (for each of HOSTS), GPU time to run it, and when it ends.

    A kernel starts when it has been launched and the one before has ended (`tilecast.predict.kernel.wait_ms`).
    """

    issued_ms: Array  # [host, ...]
    busy_ms: Any
    ends_ms: Array

    def then(self, after: Run) -> Run:
        """The sequence followed by `after`; it ends when the later of host and GPU allows."""
        ends = np.maximum(self.ends_ms + after.busy_ms, self.issued_ms + after.ends_ms)
        return Run(self.issued_ms + after.issued_ms, self.busy_ms + after.busy_ms, ends)

    def times(self, count: Any) -> Run:
        """The sequence `count` times, at least once: each repetition takes the longer of host and GPU time."""
        before = (count - 1) * np.maximum(self.busy_ms, self.issued_ms)
        return Run(count * self.issued_ms, count * self.busy_ms, self.ends_ms + before)

    def where(self, there: Array) -> Run:
        """The sequence where it is `there`, else nothing."""
        return Run(*(np.where(there, part, 0.0) for part in self))

    @property
    def wait_ms(self) -> Array:
        """Time the GPU waits for the host."""
        return np.maximum(0.0, self.ends_ms - self.busy_ms)


def sent(milliseconds: Array) -> Run:
    """Communication as a sequence: the GPU waits for it, its launch takes no host time."""
    return Run(np.zeros_like(milliseconds), milliseconds, milliseconds)


def unissued(kernels: Columns, found: Columns, device: Device) -> Columns:
    """Forecasts for compiled code: kernels bound by their launch take what a CUDA graph needs for each."""
    moved = (kernels["bytes_read"] + kernels["bytes_written"]).astype(float)
    least = np.maximum(LEAST_MS, moved / (STREAM_SHARE * device.bandwidth_bytes_per_s) * 1e3)
    held = (found["bound"] == "latency") & (found["passport"] == "extrapolated")
    latency = found["latency_ms"].astype(float)
    factor = np.where(held & (least < latency), least / np.maximum(latency, LEAST_MS), 1.0)
    return found | {name: found[name] * factor for name in _ENDS}


class Times:
    """One microbatch of each of many shapes on one GPU, by part of the model (first, layer, last) and phase."""

    def __init__(self, ms: Array, runs: Array | None) -> None:
        self._ms, self._runs = ms, runs  # [part, phase, latency, low, high; shape], [part, phase, value; shape]

    def ms(self, part: str, phase: str) -> Array:
        """Milliseconds [latency, low, high; shape]."""
        return np.asarray(self._ms[_PARTS.index(part), _PHASES.index(phase)])

    def run(self, part: str, phase: str) -> Run:
        """The sequence of kernels."""
        assert self._runs is not None
        issued, (busy,), ends = np.split(self._runs[_PARTS.index(part), _PHASES.index(phase)], (3, 4))
        return Run(issued, busy, ends)

    @property
    def issued(self) -> bool:
        """Whether kernels are launched one by one."""
        return self._runs is not None


class Kernels:
    """Kernel forecasts of one workload on one device; each shape is forecast once."""

    def __init__(
        self,
        work: Workload,
        device: Device,
        predictor: Predictor,
        compute_share: float,
        traced: Mapping[Shape, Share] | None,
        host: str = "measured",
    ) -> None:
        self.work, self.device, self.predictor, self.compute_share = work, device, predictor, compute_share
        self.host = host
        self._traced, self._traces = traced or {}, Traces()
        self._rows: dict[tuple[Any, ...], int] = {}
        self._kept = {work.architecture.experts}  # outputs of products that stay in 16 bits: router, head
        self._ms = np.zeros((len(_PARTS), len(_PHASES), len(_ENDS), 0))
        self._runs = np.zeros((len(_PARTS), len(_PHASES), _RUN, 0))
        self._aware = isinstance(predictor, HostAware) and not work.fused

    def __call__(self, *shapes: Shape) -> Times:
        """The forecasts of some shapes."""
        self.forecast(shapes)
        rows = [self._rows[shape] for shape in shapes]
        return Times(self._ms[..., rows], self._runs[..., rows] if self._aware else None)

    def forecast(self, shapes: Iterable[Shape]) -> None:
        """Forecast the kernels of shapes not known yet, all at once; add them up by shape, part and phase."""
        missing = [shape for shape in dict.fromkeys(shapes) if shape not in self._rows]
        if not missing:
            return
        found = [self._share(shape) for shape in missing]
        places, distinct, times, _ = self._each(found)
        ends = np.array([times[name] for name in _ENDS], dtype=float)
        family, op = distinct["family"], distinct["op"]
        ms, runs = (np.zeros((*table.shape[:-1], len(found))) for table in (self._ms, self._runs))
        for number, one in enumerate(found):
            rows = np.array([places[kernel] for kernels in one.kernels.values() for kernel, _ in kernels])
            self._sum(one, ends[:, rows], family[rows], op[rows], ms[..., number], runs[..., number])
        self._ms, self._runs = np.concatenate([self._ms, ms], -1), np.concatenate([self._runs, runs], -1)
        self._rows |= {shape: len(self._rows) + place for place, shape in enumerate(missing)}

    def _share(self, shape: Shape) -> Share:
        self._kept.add(-(-self.work.architecture.vocab // shape.tp))
        return self._traced.get(shape) or share(self.work, shape, self._traces)

    def _each(self, found: list[Share]) -> tuple[dict[Kernel, int], Columns, Columns, Columns]:
        """Every distinct kernel of some shares: its row, what it is, its forecast, and that before formats."""
        places: dict[Kernel, int] = {}
        for one in found:
            for kernels in one.kernels.values():
                for kernel, _ in kernels:
                    places.setdefault(kernel, len(places))
        distinct = of_rows(places, Kernel._fields) | {"count": np.ones(len(places), dtype=int)}
        times = forecast(self.predictor, distinct, self.device)
        wide = times = sustained(distinct, times, self.device, self.work.mode)
        if self.work.narrow:
            times = formats.applied(distinct, times, self.work, self.device, self._kept)
        if self.work.fused:
            times = unissued(distinct, times, self.device)
        return places, distinct, times, wide

    def described(self, shape: Shape, microbatches: int) -> dict[str, Any]:
        """What the kernels of all layers and microbatches are, nothing done again (`predict.model.described`)."""
        one = self._share(shape)
        places, distinct, times, wide = self._each([one])
        often = np.zeros(len(places))
        for (part, phase), kernels in one.kernels.items():
            layers = self.work.architecture.layers if part == "layer" else 1
            for kernel, count in kernels if phase in _PASSES else ():
                often[places[kernel]] += layers * (1 if phase == "optimizer" else microbatches) * count
        ran = often != 0
        rows, times = some(distinct | {"count": often}, ran), some(times, ran)
        if self.work.products:
            bf16 = unissued(rows, some(wide, ran), self.device)
            rows, times = formats.apart(rows, times, bf16, self.work, self.device, self._kept)
        return described(rows, times)

    def _sum(self, one: Share, ends: Array, family: Array, op: Array, ms: Array, runs: Array) -> None:
        """Add up the times of one shape's kernels, into its place of both tables."""
        count = np.array([times for kernels in one.kernels.values() for _, times in kernels], dtype=float)
        part, phase = (
            np.repeat([key[axis] for key in one.kernels], [len(kernels) for kernels in one.kernels.values()])
            for axis in (0, 1)
        )
        each, low, high = ends
        # An interval is that of the whole step's kernels, not of each: see `interval.total`.
        often = np.where(part == "layer", self.work.architecture.layers, 1) * ~np.isin(phase, _BESIDE) * count
        sums = total(each * often, low * often, high * often, family)
        reach = [value / sums[0] if np.isfinite(value) and sums[0] else 1.0 for value in (sums[0], *sums[1:])]
        each = each / self.compute_share
        for key in one.kernels:
            mine = np.flatnonzero((part == key[0]) & (phase == key[1]))
            place = (_PARTS.index(key[0]), _PHASES.index(key[1]))
            ms[place] = (each[mine] * count[mine]).sum() * np.array(reach)
            if self._aware and key[1] in _PASSES:
                often, parts = np.divmod(np.maximum(count[mine], 0), 1)
                # of a layer that is the mean of several kinds, a part of a kernel is launched and runs
                often = np.where(parts > 0, 1, often).astype(int)
                share = np.repeat(np.where(parts > 0, count[mine], 1.0), often)
                mine = np.repeat(mine, often)
                runs[place] = self._run(op[mine], each[mine], share, key[1])

    def _run(self, ops: Array, busy: Array, part: Array, phase: str) -> Array:
        """Numbers of a Run: three of launching, one of running, three of the end."""
        assert isinstance(self.predictor, HostAware)
        busy = busy * part
        left = np.cumsum(busy[::-1])[::-1]
        hosts = HOST_CLASSES[self.host]
        issued = [factor * np.cumsum(self.predictor.issue_ms(ops, phase, share) * part) for share, factor in hosts]
        ends = [(host + left).max(initial=0.0) for host in issued]
        return np.array([*(host[-1] if len(host) else 0.0 for host in issued), busy.sum(), *ends])
