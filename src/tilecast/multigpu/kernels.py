"""Forecasts of one GPU's kernels by part of the model, and the time the host adds by launching them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from tilecast.base.arrays import Array
from tilecast.graph.kernels import Kernel
from tilecast.hardware.device import Device
from tilecast.models.workload import Workload
from tilecast.multigpu.shard import Shape, Share, Traces, share
from tilecast.predict.interval import total
from tilecast.predict.kernel import HOSTS, HostAware, Predictor
from tilecast.predict.physics.throttle import sustained

_ENDS = ("latency_ms", "low_ms", "high_ms")
_BESIDE = ("core", "copies")  # phases that are no part of a pass
_PASSES = ("forward", "backward", "optimizer")
# ASSUME: a kernel with next to nothing to do takes 3 us in a CUDA graph (A. Gray, "Getting Started with CUDA
# Graphs", NVIDIA 2019: 3.4 us a kernel, of which 2.9 us it runs), and otherwise what streaming its bytes takes.
LEAST_MS, STREAM_SHARE = 0.003, 0.85


class Run(NamedTuple):
    """A sequence of kernels: host time to launch it (for each of HOSTS), GPU time to run it, and when it ends.

    A kernel starts when it has been launched and the one before has ended (`tilecast.predict.kernel.wait_ms`).
    """

    issued_ms: Array
    busy_ms: float
    ends_ms: Array

    def then(self, after: Run) -> Run:
        """The sequence followed by `after`; it ends when the later of host and GPU allows."""
        ends = np.maximum(self.ends_ms + after.busy_ms, self.issued_ms + after.ends_ms)
        return Run(self.issued_ms + after.issued_ms, self.busy_ms + after.busy_ms, ends)

    def times(self, count: int) -> Run:
        """The sequence `count` times: each repetition takes the longer of host and GPU time."""
        if count == 0:
            return NOTHING
        before = (count - 1) * np.maximum(self.busy_ms, self.issued_ms)
        return Run(count * self.issued_ms, count * self.busy_ms, self.ends_ms + before)

    @property
    def wait_ms(self) -> Array:
        """Time the GPU waits for the host."""
        return np.maximum(0.0, self.ends_ms - self.busy_ms)


NOTHING = Run(np.zeros(3), 0.0, np.zeros(3))


def sent(milliseconds: float) -> Run:
    """Communication as a sequence: the GPU waits for it, its launch takes no host time."""
    return Run(np.zeros(3), milliseconds, np.full(3, milliseconds))


@dataclass(frozen=True)
class Times:
    """One microbatch on one GPU, by part (first, layer, last) and phase."""

    ms: Mapping[tuple[str, str], Array]  # latency, low, high
    runs: Mapping[tuple[str, str], Run] | None  # None where kernels are not issued one by one


class Kernels:
    """Kernel forecasts of one workload on one device; each shape is forecast once."""

    def __init__(
        self,
        work: Workload,
        device: Device,
        predictor: Predictor,
        compute_share: float,
        traced: Mapping[Shape, Share] | None,
    ) -> None:
        self.work, self.device, self.predictor, self.compute_share = work, device, predictor, compute_share
        self._traced, self._traces = traced or {}, Traces()
        self._known: dict[Shape, Times] = {}

    def __call__(self, shape: Shape) -> Times:
        """The forecast of a shape."""
        if shape not in self._known:
            self._known[shape] = self._forecast(self._traced.get(shape) or share(self.work, shape, self._traces))
        return self._known[shape]

    def _forecast(self, found: Share) -> Times:
        rows = [
            (*kernel, count, part, phase)
            for (part, phase), kernels in found.kernels.items()
            for kernel, count in kernels
        ]
        table = pd.DataFrame(rows, columns=[*Kernel._fields, "count", "part", "group"])
        distinct = table[list(Kernel._fields)].drop_duplicates(ignore_index=True)
        place = table.groupby(list(Kernel._fields), sort=False).ngroup().to_numpy()
        forecast = self.predictor.predict(distinct.assign(count=1), self.device)
        forecast = sustained(distinct, forecast, self.device, self.work.mode)
        if self.work.fused:
            forecast = self._unissued(distinct, forecast)
        each, low, high = (forecast[name].to_numpy(dtype=float)[place] for name in _ENDS)
        count = table["count"].to_numpy(dtype=float)
        part, group = table["part"].to_numpy(), table["group"].to_numpy()
        # An interval is that of the whole step's kernels, not of each: see `conformal.total`.
        often = np.where(part == "layer", self.work.architecture.layers, 1) * ~np.isin(group, _BESIDE) * count
        sums = total(each * often, low * often, high * often, table["family"].to_numpy())
        reach = [value / sums[0] if np.isfinite(value) and sums[0] else 1.0 for value in (sums[0], *sums[1:])]
        each = each / self.compute_share
        ms: dict[tuple[str, str], Array] = defaultdict(lambda: np.zeros(3))
        runs: dict[tuple[str, str], Run] = defaultdict(lambda: NOTHING)
        aware = isinstance(self.predictor, HostAware) and not self.work.fused
        ops = table["op"].to_numpy()
        for key in found.kernels:
            mine = np.flatnonzero((part == key[0]) & (group == key[1]))
            ms[key] = (each[mine] * count[mine]).sum() * np.array(reach)
            if aware and key[1] in _PASSES:
                runs[key] = self._run(np.repeat(mine, np.maximum(count[mine], 0).astype(int)), ops, each, key[1])
        return Times(ms, runs if aware else None)

    def _unissued(self, kernels: pd.DataFrame, forecast: pd.DataFrame) -> pd.DataFrame:
        """Forecasts for compiled code: kernels bound by their launch take what a CUDA graph needs for each."""
        moved = (kernels["bytes_read"] + kernels["bytes_written"]).to_numpy(dtype=float)
        least = np.maximum(LEAST_MS, moved / (STREAM_SHARE * self.device.bandwidth_bytes_per_s) * 1e3)
        held = (forecast["bound"] == "latency").to_numpy() & (forecast["passport"] == "extrapolated").to_numpy()
        factor = np.where(held, np.minimum(1.0, least / forecast["latency_ms"].to_numpy(dtype=float)), 1.0)
        return forecast.assign(**{name: forecast[name] * factor for name in _ENDS})

    def _run(self, rows: Array, ops: Array, each: Array, phase: str) -> Run:
        assert isinstance(self.predictor, HostAware)
        busy = each[rows]
        left = np.cumsum(busy[::-1])[::-1]
        issued = [np.cumsum(self.predictor.issue_ms(ops[rows], phase, host)) for host in HOSTS]
        ends = np.array([(host + left).max(initial=0.0) for host in issued])
        return Run(np.array([host[-1] if len(host) else 0.0 for host in issued]), float(busy.sum()), ends)
