"""How much a forecast changes when one assumption at a time is changed: the rows of a tornado diagram."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout
from tilecast.multigpu.links import scaled
from tilecast.multigpu.step import StepForecaster
from tilecast.predict.half_precision import shipped
from tilecast.predict.kernel import Predictor
from tilecast.serving.deployment import Deployment, served
from tilecast.serving.load import Load


@dataclass(frozen=True)
class Case:
    """All that the forecast of a training step is made from."""

    work: Workload
    system: System
    device: Device
    predictor: Predictor
    layout: Layout
    assume: Assumptions = STANDARD

    def figures(self) -> dict[str, float]:
        """Time of the step, and the memory of the fullest GPU."""
        step = StepForecaster(self.work, self.system, self.device, self.predictor, self.assume).step(self.layout)
        return {"step_ms": step.latency_ms, "memory_gb": step.memory.total_bytes / 1e9}


@dataclass(frozen=True)
class ServingCase:
    """All that the forecast of serving is made from."""

    server: Deployment
    load: Load

    def figures(self) -> dict[str, float]:
        """Mean times to first token and per output token, and output tokens a second of one server."""
        found = served(self.server, self.load, shipped())
        times = {"ttft_ms": found.mean(found.ttft_ms), "tpot_ms": found.mean(found.tpot_ms)}
        return times | {"tokens_per_s": found.tokens_per_s}


@dataclass(frozen=True)
class Change:
    """One assumption, its low and high setting, and how to change a case to them (None: does not apply)."""

    name: str
    low: str
    high: str
    applied: Callable[[Any, bool], Any]  # (case, whether the high end) -> changed case


def _assume(**ends: tuple[Any, Any]) -> Callable[[Case, bool], Case]:
    """A change of named assumptions to the low or the high end."""
    return lambda case, high: replace(
        case, assume=replace(case.assume, **{name: end[high] for name, end in ends.items()})
    )


def _thinner(case: Case, high: bool) -> Case | None:
    network = case.system.network
    if network is None or case.layout.gpus <= case.system.gpus_per_node:
        return None
    if not high:
        return case
    thin = replace(network, oversubscription=2 * network.oversubscription)
    return replace(case, system=replace(case.system, network=thin))


def _overlapped(case: Case, high: bool) -> Case | None:
    if case.layout.dp * case.layout.cp == 1:
        return None
    return replace(case, layout=replace(case.layout, overlap=high))


def _slowed(case: Case, high: bool) -> Case | None:
    hidden = _overlapped(case, True)
    return hidden and _assume(contention=(0.0, 0.4))(hidden, high)


def _split(case: Case, high: bool) -> Case | None:
    return _assume(tp_overlap=(0.0, 0.5))(case, high) if case.layout.tp > 1 else None


def _sends(case: Case, high: bool) -> Case | None:
    return _assume(blocking_sends=(False, True))(case, high) if case.layout.pp > 1 else None


def _work(**ends: tuple[Any, Any]) -> Callable[[Case, bool], Case]:
    """A change of the workload to the low or the high end."""
    return lambda case, high: replace(
        case, work=replace(case.work, **{name: end[high] for name, end in ends.items()})
    )


CHANGES = (
    Change("speed of every kernel", "-10 %", "+10 %", _assume(compute_share=(0.9, 1.1))),
    Change("rate of every link", "half", "double", _assume(link_share=(0.5, 2.0))),
    Change("network above the nodes", "full", "2:1 thinner", _thinner),
    Change("gradients beside compute", "no", "yes", _overlapped),
    Change("kernels beside communication", "not slowed", "40 % slower", _slowed),
    Change("tensor parallelism beside compute", "0 %", "50 %", _split),
    Change("sends between stages", "beside compute", "awaited", _sends),
    Change("attention", "written out", "one kernel", _work(attention=("eager", "fused"))),
    Change("chains of elementwise kernels", "one by one", "fused", _work(fused=(False, True))),
    Change("bucket of gradients", "5 MiB", "200 MiB", _assume(bucket_bytes=(5 * 2.0**20, 200 * 2.0**20))),
    Change("memory lost by the allocator", "0 %", "10 %", _assume(fragmentation=(0.0, 0.1))),
    Change("memory of driver and libraries", "0.5 GB", "2 GB", _assume(context_bytes=(0.5e9, 2e9))),
)


def _server(**ends: tuple[Any, Any]) -> Callable[[ServingCase, bool], ServingCase]:
    """A change of a server's settings to the low or the high end."""
    return lambda case, high: replace(
        case, server=replace(case.server, **{name: end[high] for name, end in ends.items()})
    )


def _links(case: ServingCase, high: bool) -> ServingCase | None:
    system = case.server.system
    if system is None or case.server.pool.tp * case.server.pool.pp == 1:
        return None
    return replace(case, server=replace(case.server, system=scaled(system, 2.0 if high else 0.5)))


def _batched(**ends: tuple[Any, Any]) -> Callable[[ServingCase, bool], ServingCase]:
    """A change of how passes are filled to the low or the high end."""

    def applied(case: ServingCase, high: bool) -> ServingCase:
        batching = replace(case.server.batching, **{name: end[high] for name, end in ends.items()})
        return replace(case, server=replace(case.server, batching=batching))

    return applied


def _cached(case: ServingCase, high: bool) -> ServingCase:
    return replace(case, load=replace(case.load, cached=0.5 if high else 0.0))


SERVING_CHANGES = (
    Change("speed of every kernel", "-10 %", "+10 %", _server(kernels=(1 / 0.9, 1 / 1.1))),
    Change("rate of every link", "half", "double", _links),
    Change("tokens of a pass", "2,048", "16,384", _batched(budget=(2048.0, 16384.0))),
    Change("prompts", "between decoding", "in passes of their own", _batched(alone=(False, True))),
    Change("passes until a client's next request", "1", "4", _batched(late=(1, 4))),
    Change("memory the engine takes", "80 %", "95 %", _server(memory_share=(0.8, 0.95))),
    Change("prompts found in the prefix cache", "none", "half", _cached),
)


def tornado(case: Case | ServingCase, changes: Iterable[Change] = CHANGES) -> Iterator[Mapping[str, object]]:
    """A row a figure and assumption that moves it: the figure as forecast, at the low and at the high end."""
    base = case.figures()
    for change in changes:
        cases = [change.applied(case, high) for high in (False, True)]
        if None in cases:
            continue
        low, high = (base if end == case else end.figures() for end in cases if end)
        for figure, value in base.items():
            if not low[figure] == value == high[figure]:
                settings = {"low_setting": change.low, "high_setting": change.high}
                ends = {"low": low[figure], "high": high[figure]}
                yield {"figure": figure, "assumption": change.name, **settings, "forecast": value, **ends}
