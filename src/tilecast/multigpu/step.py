"""One step of training or inference on many GPUs: kernels, collectives and schedule put together.

A `Planner` forecasts the kernels of a microbatch once per shape (tp, cp, ep, microbatch), the rest by arithmetic:
`step` simulates one layout event by event, `latencies` thousands of them at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.hardware.system import System
from tilecast.models.workload import Workload
from tilecast.multigpu.kernels import NOTHING, Kernels, sent
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout, check, stages
from tilecast.multigpu.links import Links
from tilecast.multigpu.memory import Memory, end_parameters, layer_parameters, memory
from tilecast.multigpu.schedule import BACKWARD, FORWARD, Event, simulate, stage_ends
from tilecast.multigpu.shard import Shape, Share
from tilecast.multigpu.traffic import FIRST, LAST, LAYER, UNIT, Traffic
from tilecast.predict.kernel import Predictor

PARTS = ("compute", "recompute", "host", "tp", "ep", "cp", "dp", "pp", "bubble", "optimizer")
_HOST, _SENDS = UNIT.index("host"), UNIT.index("pp")


@dataclass(frozen=True)
class Step:
    """One layout's forecast."""

    layout: Layout
    latency_ms: float
    low_ms: float
    high_ms: float
    parts: dict[str, float]  # PARTS -> ms, of the stage that ends last: they add up to latency_ms
    tokens_per_s: float
    memory: Memory
    stages: tuple[dict[str, float], ...]  # the same parts of every stage; `waiting` fills up to latency_ms
    events: tuple[Event, ...]

    @property
    def bubble_share(self) -> float:
        """Share of the step that the last stage to end idles in the pipeline."""
        return self.parts["bubble"] / self.latency_ms if self.latency_ms else 0.0


class Planner:
    """Step forecasts of one workload on one system; kernels and collectives are forecast once."""

    def __init__(
        self,
        work: Workload,
        system: System,
        device: Device,
        predictor: Predictor,
        assume: Assumptions = STANDARD,
        traced: Mapping[Shape, Share] | None = None,
    ) -> None:
        self.work, self.device, self.predictor, self.assume = work, device, predictor, assume
        self.model = work.architecture
        self.links = Links(system, assume.link_share)
        self.traffic = Traffic(work, self.links, assume)
        self.size = ELEMENT_BYTES[work.dtype]
        self.kernels = Kernels(work, device, predictor, assume.compute_share, traced)
        self._units: dict[tuple[Any, ...], Array] = {}
        self._waits: dict[tuple[Any, ...], Array] = {}
        self._spreads: dict[tuple[Any, ...], tuple[int, ...]] = {}

    def memory(self, layout: Layout) -> Memory:
        """What each stage's GPUs hold."""
        return memory(self.work, layout, self.device.memory_bytes, self.assume)

    def check(self, layout: Layout) -> None:
        """Raise InputError if the layout cannot run this workload on this system."""
        check(layout, self.model, None, self.work.batch_size, self.work.sequence_length)
        if layout.gpus > self.links.system.gpus:
            problem = f"needs {layout.gpus} GPUs, the system has {self.links.system.gpus}"
            raise InputError(f"layout {layout.label}", problem, "choose a larger system or smaller ranks")

    def step(self, layout: Layout) -> Step:
        """The forecast of one layout, event by event."""
        self.check(layout)
        work, count = self.work, layout.microbatches(self.work.batch_size)
        passes = self._passes(layout, 3)  # part, kind, end, chunk, stage
        whole, training = passes.sum(axis=0), work.mode == "training"
        # forecast, low, high, and once more with links between stages that take no time
        cases = np.concatenate([whole, (whole - passes[_SENDS])[:, :1]], axis=1)
        forward, backward = cases[FORWARD], cases[BACKWARD] if training else None
        hops = np.outer(np.append(self._hops(layout, 3), 0.0), (1.0, 1.0))
        found = stage_ends(layout.schedule, count, forward, backward, hops, periodic=False)
        ends, still = found[:3], found[3]
        first = backward[0] if backward is not None else None
        events = simulate(layout.schedule, count, forward[0], first, (hops[0, 0], hops[0, 1]))
        tails = self._tails(layout, whole, 3)  # tail part (dp, optimizer), end, stage
        finish = ends + tails.sum(axis=0)
        latency, low, high = (float(value) for value in finish.max(axis=1))
        per_stage = []
        for stage in range(layout.pp):
            parts = dict.fromkeys(PARTS, 0.0)
            for number, name in enumerate(UNIT):
                parts[name] = count * float(passes[number, :, 0, :, stage].sum())
            busy = sum(parts.values()) - parts["pp"]
            parts["pp"] = float(ends[0, stage] - still[stage])
            parts["bubble"] = max(0.0, float(still[stage]) - busy)
            parts["dp"] += float(tails[0, 0, stage])
            parts["optimizer"] = float(tails[1, 0, stage])
            per_stage.append(parts | {"waiting": latency - float(finish[0, stage])})
        last = int(finish[0].argmax())
        chosen = {name: per_stage[last][name] for name in PARTS}
        rate = work.tokens / latency * 1e3 if latency else 0.0
        held = self.memory(layout)
        return Step(layout, latency, low, high, chosen, rate, held, tuple(per_stage), tuple(events))

    def spread(self, layout: Layout) -> tuple[int, ...]:
        """Layers of each piece that make the slowest stage fastest; () where the even split already does."""
        pp, layers, pieces = layout.pp, self.model.layers, layout.pp * layout.interleave
        key = (self._unit_key(layout), pp, pieces)
        if key in self._spreads:
            return self._spreads[key]
        first, layer, last = self._unit(layout)[..., 0].sum(axis=(0, 1)).tolist()

        def load(counts: Sequence[int]) -> list[float]:
            busy = [sum(counts[stage::pp]) * layer for stage in range(pp)]
            busy[0] += first
            busy[-1] += last
            return busy

        counts = [1] * pieces
        busy = load(counts)
        for _ in range(layers - pieces):
            # of stages that are equally busy the last: it holds the fewest microbatches
            stage = min(range(pp), key=lambda place: (busy[place], -place))
            counts[min(range(stage, pieces, pp), key=counts.__getitem__)] += 1
            busy[stage] += layer
        gains = max(busy) < max(load(stages(layers, pieces))) * (1 - 1e-9)
        self._spreads[key] = tuple(counts) if gains else ()
        return self._spreads[key]

    def latencies(self, layouts: Sequence[Layout]) -> Array:
        """Milliseconds of each (legal) layout, many at once: what `step` finds, without events and intervals."""
        # Layouts that differ only in what follows the pipeline (ZeRO, how gradients travel) share its simulation.
        shared: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, layout in enumerate(layouts):
            count = layout.microbatches(self.work.batch_size)
            shared[layout.schedule, layout.pp, layout.interleave, layout.stages, count, layout.dp,
                   self._unit_key(layout)].append(place)  # fmt: skip
        groups: dict[tuple[Any, ...], list[list[int]]] = defaultdict(list)
        for key, places in shared.items():
            groups[key[:3]].append(places)
        found = np.zeros(len(layouts))
        training = self.work.mode == "training"
        for (schedule, *_), alike in groups.items():
            first = [layouts[places[0]] for places in alike]
            # case, kind, chunk, stage
            whole = np.array([self._passes(layout, 1).sum(axis=0)[:, 0] for layout in first])
            send = np.array([[float(self._hops(layout, 1)[0])] * 2 for layout in first])
            counts = np.array([layout.microbatches(self.work.batch_size) for layout in first])
            ends = stage_ends(schedule, counts, whole[:, FORWARD], whole[:, BACKWARD] if training else None, send)
            for places, times, end in zip(alike, whole, ends, strict=True):
                for place in places:
                    tails = self._tails(layouts[place], times[:, None], 1)
                    found[place] = (end + tails.sum(axis=0)[0]).max()
        return found

    # --- a microbatch through one piece of the model ---

    def _unit(self, layout: Layout) -> Array:
        """Milliseconds by part (UNIT), kind (forward, backward), place (first, layer, last), interval's end."""
        key = self._unit_key(layout)
        if key in self._units:
            return self._units[key]
        unit = np.zeros((len(UNIT), 2, 3, 3))
        kernels = self.kernels(Shape.of(layout)).ms
        for place, name in enumerate(("first", "layer", "last")):
            unit[0, FORWARD, place] = kernels[name, "forward"]
            unit[0, BACKWARD, place] = kernels[name, "backward"]
        if self.work.mode == "inference":
            unit[:, BACKWARD] = 0
        self.traffic.tensor_parallel(layout, unit[2])
        self.traffic.expert_parallel(layout, unit[3])
        self.traffic.context_parallel(layout, unit[4], kernels["layer", "core"])
        if layout.recompute == "full":
            unit[1, BACKWARD, LAYER] = unit[0, FORWARD, LAYER]
            unit[2:5, BACKWARD, LAYER] += unit[2:5, FORWARD, LAYER]
        elif layout.recompute == "selective" and self.work.attention != "fused":
            unit[1, BACKWARD, LAYER] = kernels["layer", "core"]
        if layout.zero >= 3:
            self.traffic.sharded_weights(layout, unit, kernels)
        self._units[key] = unit
        return unit

    def _unit_key(self, layout: Layout) -> tuple[Any, ...]:
        """The parts of a layout that the time of one piece depends on."""
        zero3 = layout.dp * layout.cp if layout.zero >= 3 else 0
        hides = layout.overlap or (layout.cp == 1 and not zero3)
        return (Shape.of(layout), layout.gpus, layout.recompute, hides, zero3)

    def _wait(self, layout: Layout, layers: int, first: bool, last: bool) -> Array:
        """Milliseconds [kind, interval's end] that a pass through a piece waits for the host."""
        key = (*self._unit_key(layout), layers, first, last)
        if key in self._waits:
            return self._waits[key]
        runs = self.kernels(Shape.of(layout)).runs
        assert runs is not None
        messages = self._unit(layout)[2:6, :, :, 0].sum(axis=0)  # kind, place
        waits = np.zeros((2, 3))
        for kind, phase in ((FORWARD, "forward"), (BACKWARD, "backward")):
            if kind == BACKWARD and self.work.mode == "inference":
                break
            layer = runs["layer", phase].then(sent(messages[kind, LAYER]))
            if kind == BACKWARD and layout.recompute == "full":
                layer = runs["layer", "forward"].then(layer)
            start = runs["first", phase].then(sent(messages[kind, FIRST])) if first else NOTHING
            end = runs["last", phase].then(sent(messages[kind, LAST])) if last else NOTHING
            ordered = (start, end) if kind == FORWARD else (end, start)
            waits[kind] = ordered[0].then(layer.times(layers)).then(ordered[1]).wait_ms
        self._waits[key] = waits
        return waits

    # --- the pipeline, and what follows it ---

    def _passes(self, layout: Layout, ends: int) -> Array:
        """Milliseconds by part, kind, interval's end, chunk and stage of one microbatch's pass."""
        unit = self._unit(layout)[..., :ends]
        pieces = layout.pp * layout.interleave
        counts = np.array(layout.pieces(self.model.layers), dtype=float)
        passes = unit[:, :, LAYER, :, None] * counts
        passes[..., 0] += unit[:, :, FIRST]
        passes[..., -1] += unit[:, :, LAST]
        for piece in range(pieces if self.kernels(Shape.of(layout)).runs is not None else 0):
            wait = self._wait(layout, int(counts[piece]), piece == 0, piece == pieces - 1)
            passes[_HOST, :, :, piece] = wait[:, :ends]
        if self.assume.blocking_sends:
            send = self.traffic.send(layout, ends)[:, None]
            passes[_SENDS, FORWARD, :, :-1] = send
            if self.work.mode == "training":
                passes[_SENDS, BACKWARD, :, 1:] = send
        return np.asarray(passes.reshape(len(UNIT), 2, ends, layout.interleave, layout.pp))

    def _hops(self, layout: Layout, ends: int) -> Array:
        """Milliseconds that pass between a stage's end and the arrival of what it sends."""
        return np.zeros(ends) if self.assume.blocking_sends else self.traffic.send(layout, ends)

    def _tails(self, layout: Layout, whole: Array, ends: int) -> Array:
        """Milliseconds [dp or optimizer, interval's end, stage] after a stage's last backward pass."""
        pp = layout.pp
        tails = np.zeros((2, ends, pp))
        if self.work.mode == "inference":
            return tails
        counts = np.array(layout.pieces(self.model.layers)).reshape(layout.interleave, pp).sum(axis=0)
        kernels = self.kernels(Shape.of(layout)).ms
        backward = whole[BACKWARD].sum(axis=1)  # end, stage
        shared, own = layer_parameters(self.model, layout.tp, layout.ep)
        start, last = end_parameters(self.model, layout.tp)
        replicas = layout.dp * layout.cp
        known: dict[tuple[int, bool, bool], tuple[Array, Array]] = {}
        for stage in range(pp):
            key = (int(counts[stage]), stage == 0, stage == pp - 1)
            if key not in known:
                held = key[0] * shared + start * key[1] + last * key[2]
                if self.model.tied and pp == 1:
                    held -= self.model.vocab * self.model.hidden / layout.tp
                opt, copies = (
                    key[0] * kernels["layer", phase]
                    + key[1] * kernels["first", phase]
                    + key[2] * kernels["last", phase]
                    for phase in ("optimizer", "copies")
                )
                dp = self.traffic.gradients(layout, held, key[0] * own, backward[:, stage], copies[:ends])
                if self.model.tied and pp > 1 and (key[1] or key[2]):  # both copies of the words agree
                    words = self.model.vocab * self.model.hidden / layout.tp * self.size
                    across = (0, layout.tp * replicas * (pp - 1), 2, layout.gpus)
                    dp = dp + self.links.time("all_reduce", across, words)[:ends]
                known[key] = dp, self._update(layout, opt, *key)[:ends]
            tails[0, :, stage], tails[1, :, stage] = known[key]
        return tails

    def _update(self, layout: Layout, busy: Array, layers: int, first: bool, last: bool) -> Array:
        """Milliseconds of the optimizer; ZeRO divides its kernels' work, not the host time to launch them."""
        runs = self.kernels(Shape.of(layout)).runs
        share = layout.dp * layout.cp if layout.zero else 1
        if runs is None:
            return busy / share
        start, layer, end = (
            run._replace(busy_ms=run.busy_ms / share, ends_ms=run.ends_ms - run.busy_ms * (1 - 1 / share))
            for run in (runs[name, "optimizer"] for name in ("first", "layer", "last"))
        )
        whole = (start if first else NOTHING).then(layer.times(layers)).then(end if last else NOTHING)
        return busy / share + whole.wait_ms


def sized(planner: Planner, batch: int) -> Planner:
    """The same planner for another batch; it shares all forecasts, which do not depend on it."""
    other = copy(planner)
    other.work = replace(planner.work, batch_size=batch)
    other.traffic = Traffic(other.work, planner.links, planner.assume)
    return other
