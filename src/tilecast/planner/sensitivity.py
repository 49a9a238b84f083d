"""How much a forecast changes when one assumption at a time is changed: the rows of a tornado diagram."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout
from tilecast.multigpu.step import Planner
from tilecast.predict.kernel import Predictor
from tilecast.serving.server import Server


@dataclass(frozen=True)
class Case:
    """All that a forecast is made from."""

    work: Workload  # of training; of serving: the prefill of one prompt
    system: System
    device: Device
    predictor: Predictor
    layout: Layout
    assume: Assumptions = STANDARD
    output: int = 0  # serving: tokens of an answer


@dataclass(frozen=True)
class Change:
    """One assumption, its low and high setting, and how to change a case to them (None: does not apply)."""

    name: str
    low: str
    high: str
    applied: Callable[[Case, bool], Case | None]  # (case, whether the high end) -> changed case


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
    if case.work.mode == "inference" or case.layout.dp * case.layout.cp == 1:
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


def figures(case: Case) -> dict[str, float]:
    """The forecasts of a case: step time, or TTFT and TPOT; and the memory of the fullest GPU."""
    work = case.work
    if work.mode == "training":
        step = Planner(work, case.system, case.device, case.predictor, case.assume).step(case.layout)
        return {"step_ms": step.latency_ms, "memory_gb": step.memory.total_bytes / 1e9}
    served = server(case).serve(case.layout)
    times = {"ttft_ms": served.ttft_ms[0], "tpot_ms": served.tpot_ms[0]}
    return times | {"memory_gb": served.memory.total_bytes / 1e9}


def server(case: Case) -> Server:
    """The server of a case's requests."""
    work = case.work
    return Server(
        work.spec, case.system, case.device, case.predictor, work.sequence_length, case.output,
        work.dtype, work.attention, work.fused, case.assume,
    )  # fmt: skip


def tornado(case: Case, changes: Iterable[Change] = CHANGES) -> Iterator[Mapping[str, object]]:
    """A row a figure and assumption that moves it: the figure as forecast, at the low and at the high end."""
    base = figures(case)
    for change in changes:
        cases = [change.applied(case, high) for high in (False, True)]
        if None in cases:
            continue
        low, high = (base if end == case else figures(end) for end in cases if end)
        for figure, value in base.items():
            if not low[figure] == value == high[figure]:
                settings = {"low_setting": change.low, "high_setting": change.high}
                ends = {"low": low[figure], "high": high[figure]}
                yield {"figure": figure, "assumption": change.name, **settings, "forecast": value, **ends}
