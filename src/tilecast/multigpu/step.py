"""One step of training or inference on many GPUs: kernels, collectives and schedule put together.

A `StepForecaster` forecasts the kernels of a microbatch once per shape (tp, cp, ep, microbatch), the rest by
arithmetic over all layouts asked for at once: `latencies` takes thousands, `step` one, with all there is to know.
Arrays end with the axis of the layouts; [end] is the forecast, its low and its high end, or the first of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.hardware.system import System
from tilecast.models.workload import Workload
from tilecast.multigpu.kernels import Kernels, Run, Times, sent
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout, Layouts, check, stages
from tilecast.multigpu.links import Links
from tilecast.multigpu.memory import Memory, end_parameters, held, layer_parameters, memory
from tilecast.multigpu.schedule import BACKWARD, FORWARD, Event, Pipelines, simulate, stage_ends
from tilecast.multigpu.shard import Shape, Share
from tilecast.multigpu.traffic import FIRST, LAST, LAYER, UNIT, Traffic
from tilecast.predict.kernel import Predictor

PARTS = ("compute", "recompute", "host", "tp", "ep", "cp", "dp", "pp", "bubble", "optimizer")
_HOST, _SENDS = UNIT.index("host"), UNIT.index("pp")
_OF_UNIT, _TAILS = [PARTS.index(name) for name in UNIT], [PARTS.index(name) for name in ("dp", "optimizer")]
_PP, _BUBBLE = PARTS.index("pp"), PARTS.index("bubble")


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
    _simulated: Callable[[], list[Event]] = field(repr=False, compare=False)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Every pass of the pipeline; simulated when first asked for."""
        return tuple(self._simulated())

    @property
    def bubble_share(self) -> float:
        """Share of the step that the last stage to end idles in the pipeline."""
        return self.parts["bubble"] / self.latency_ms if self.latency_ms else 0.0


class StepForecaster:
    """Step forecasts of one workload on one system; kernels and ways to communicate are found once."""

    def __init__(
        self,
        work: Workload,
        system: System,
        device: Device,
        predictor: Predictor,
        assume: Assumptions = STANDARD,
        traced: Mapping[Shape, Share] | None = None,
        host: str = "measured",
    ) -> None:
        device.check_format(work.dtype)
        self.work, self.device, self.predictor, self.assume = work, device, predictor, assume
        self.model = work.architecture
        self.links = Links(system, assume.link_share)
        self.traffic = Traffic(work, self.links, assume)
        self.size = ELEMENT_BYTES[work.dtype]
        self.kernels = Kernels(work, device, predictor, assume.compute_share, traced, host)

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
        """The forecast of one layout, with its parts, its interval and its memory."""
        self.check(layout)
        one = Layouts.one(layout)
        kernels = self.kernels(Shape.of(layout))
        passes = self._passes(one, kernels, 3)  # part, kind, end, piece, layout
        whole, count = passes.sum(axis=0), layout.microbatches(self.work.batch_size)
        # forecast, low, high, and once more with links between stages that take no time
        cases = np.concatenate([whole, (whole - passes[_SENDS])[:, :1]], axis=1)[..., 0]
        hops = np.append(self._hops(one, 3)[:, 0], 0.0)
        (found,) = stage_ends([self._pipelines(one, cases, hops, np.full(4, count))])
        ends, still = found[:3], found[3]
        tails = self._tails(one, kernels, whole, 3)[..., 0]  # tail part (dp, optimizer), end, stage
        finish = ends + tails.sum(axis=0)
        latency, low, high = finish.max(axis=1).tolist()
        by_stage = passes[:, :, 0].reshape(len(UNIT), -1, layout.pp).sum(axis=1)  # in all chunks, both ways
        parts = np.zeros((len(PARTS), layout.pp))
        parts[_OF_UNIT] = count * by_stage
        busy = parts.sum(axis=0) - parts[_PP]
        parts[_PP], parts[_BUBBLE] = np.maximum(0.0, [ends[0] - still, still - busy])
        parts[_TAILS] += tails[:, 0]
        per_stage = [dict(zip(PARTS, stage, strict=True)) for stage in parts.T.tolist()]
        chosen = per_stage[int(finish[0].argmax())]
        full = [
            stage | {"waiting": left}
            for stage, left in zip(per_stage, (latency - finish[0]).tolist(), strict=True)
        ]
        rate = self.work.tokens / latency * 1e3 if latency else 0.0

        def simulated() -> list[Event]:
            forward, backward = cases[:, 0].reshape(2, layout.interleave, layout.pp)
            hop = float(hops[0])
            second = backward if self.work.mode == "training" else None
            return simulate(layout.schedule, count, forward, second, (hop, hop))

        filled = Memory.of(held(self.work, one, self.assume)[..., 0], self.device.memory_bytes)
        return Step(layout, latency, low, high, chosen, rate, filled, tuple(full), simulated)

    def described(self, layout: Layout) -> dict[str, Any]:
        """What the kernels of one replica's stages are, by class, source and bound; nothing done again."""
        return self.kernels.described(Shape.of(layout), layout.microbatches(self.work.batch_size))

    def latencies(self, layouts: Sequence[Layout]) -> Array:
        """Milliseconds of each (legal) layout, many at once: what `step` finds, without its parts and interval."""
        found, many = np.zeros(len(layouts)), Layouts.of(layouts)
        shapes, asked, after = _shapes(many), [], []
        self.kernels.forecast(shapes)
        for places, alike in many.alike():
            # Layouts that differ only in what follows the pipeline (ZeRO, how gradients travel) share its passes.
            first, whose = self._distinct(alike, alike.dp, alike.pieces(self.model.layers))
            leading = alike[first]
            own = [shapes[place] for place in places.tolist()]
            whole = self._passes(leading, self.kernels(*[own[place] for place in first.tolist()]), 1).sum(axis=0)
            counts = leading.microbatches(self.work.batch_size)
            cases, hops = whole[:, 0].swapaxes(1, 2), self._hops(leading, 1)[0]
            asked.append(self._pipelines(leading, cases, hops, counts))
            tails = self._tails(alike, self.kernels(*own), whole[..., whose], 1)
            after.append((places, whose, tails.sum(axis=0)[0]))
        for ends, (places, whose, tails) in zip(stage_ends(asked), after, strict=True):
            found[places] = (ends[whose].T + tails).max(axis=0)
        return found

    def held(self, layouts: Sequence[Layout]) -> tuple[Array, Array]:
        """Bytes that each layout's fullest stage holds, and which stage that is."""
        found, fullest = np.zeros(len(layouts)), np.zeros(len(layouts), dtype=int)
        for places, alike in Layouts.of(layouts).alike():
            stages = reduce(np.add, held(self.work, alike, self.assume))
            found[places], fullest[places] = stages.max(axis=0), stages.argmax(axis=0)
        return found, fullest

    def spread(self, layouts: Sequence[Layout]) -> list[tuple[int, ...]]:
        """Layers of each piece that make a layout's slowest stage fastest; () where the even split does."""
        found: list[tuple[int, ...]] = [()] * len(layouts)
        for places, alike in Layouts.of(layouts).alike():
            first, whose = self._distinct(alike)
            counts = self._spread(alike[first])
            for place, one in zip(places.tolist(), whose.tolist(), strict=True):
                found[place] = counts[one]
        return found

    def _spread(self, alike: Layouts) -> list[tuple[int, ...]]:
        pp, chunks, layers, cases = alike.pp, alike.interleave, self.model.layers, np.arange(len(alike))
        first, layer, last = self._unit(alike, self.kernels(*_shapes(alike)), 1)[..., 0, :].sum(axis=(0, 1))

        def load(held: Array) -> Array:
            busy = held * layer
            busy[0] += first
            busy[-1] += last
            return np.asarray(busy)

        held = np.full((pp, len(alike)), chunks)
        busy = load(held)
        for _ in range(layers - pp * chunks):
            # of stages that are equally busy the last: it holds the fewest microbatches
            stage = pp - 1 - busy[::-1].argmin(axis=0)
            held[stage, cases] += 1
            busy[stage, cases] += layer
        even = np.reshape(stages(layers, pp * chunks), (chunks, pp)).sum(axis=0)
        gains = busy.max(axis=0) < load(np.tile(even[:, None], len(alike))).max(axis=0) * (1 - 1e-9)
        # a stage's layers over its pieces, the first of which may have one more
        pieces = held // chunks + (np.arange(chunks)[:, None, None] < held % chunks)
        rows = pieces.reshape(pp * chunks, -1).T.tolist()
        return [tuple(row) if gain else () for row, gain in zip(rows, gains.tolist(), strict=True)]

    # --- layouts together ---

    def _distinct(self, alike: Layouts, *more: Array) -> tuple[Array, Array]:
        """Places of layouts that differ in the time of one piece (or in `more`), and which each one is like."""
        sharded = np.where(alike.zero >= 3, alike.dp * alike.cp, 0)
        hides = alike.overlap | ((alike.cp == 1) & (sharded == 0))
        again = np.unique(alike.recompute, return_inverse=True)[1]
        parts = (alike.tp, alike.ep, alike.cp, alike.microbatch, alike.sequence_parallel, alike.gpus)
        rows = np.ascontiguousarray(np.vstack([*parts, sharded, hides, again, *more]).T)
        places: dict[bytes, int] = {}
        whose = [places.setdefault(row.tobytes(), len(places)) for row in rows]
        return np.unique(whose, return_index=True)[1], np.array(whose)

    # --- a microbatch through one piece of the model ---

    def _unit(self, at: Layouts, kernels: Times, ends: int) -> Array:
        """Milliseconds by part (UNIT), kind (forward, backward), place (first, layer, last), end and layout."""
        unit = np.zeros((len(UNIT), 2, 3, ends, len(at)))
        training = self.work.mode == "training"
        for place, name in enumerate(("first", "layer", "last")):
            unit[0, FORWARD, place] = kernels.ms(name, "forward")[:ends]
            if training:
                unit[0, BACKWARD, place] = kernels.ms(name, "backward")[:ends]
        core = kernels.ms("layer", "core")[:ends]
        self.traffic.tensor_parallel(at, unit[2])
        self.traffic.expert_parallel(at, unit[3])
        self.traffic.context_parallel(at, unit[4], core)
        if not training:
            unit[2:5, BACKWARD] = 0
        full = at.recompute == "full"
        unit[1, BACKWARD, LAYER] = np.where(full, unit[0, FORWARD, LAYER], 0.0)
        unit[2:5, BACKWARD, LAYER] += np.where(full, unit[2:5, FORWARD, LAYER], 0.0)
        if self.work.attention != "fused":
            unit[1, BACKWARD, LAYER] += np.where(at.recompute == "selective", core, 0.0)
        self.traffic.sharded_weights(at, unit, kernels)
        return unit

    def _waits(self, at: Layouts, kernels: Times, unit: Array, counts: Array) -> Array:
        """Milliseconds [kind, end, piece, layout] that a pass through a piece waits for the host."""
        ends, pieces = unit.shape[3], len(counts)
        messages = unit[2:6, :, :, 0].sum(axis=0)  # kind, place, layout
        start, stop = (np.arange(pieces)[:, None] == end for end in (0, pieces - 1))
        waits = np.zeros((2, ends, *counts.shape))

        def run(part: str, phase: str) -> Run:
            found = kernels.run(part, phase)
            return found._replace(issued_ms=found.issued_ms[:ends, None], ends_ms=found.ends_ms[:ends, None])

        for kind, phase in ((FORWARD, "forward"), (BACKWARD, "backward")):
            if kind == BACKWARD and self.work.mode == "inference":
                break
            first, layer, last = (
                run(name, phase).then(sent(messages[kind, place]))
                for place, name in enumerate(("first", "layer", "last"))
            )
            if kind == BACKWARD:
                again = run("layer", "forward").where(at.recompute == "full")
                layer = again.then(layer)
            first, last = first.where(start), last.where(stop)
            ordered = (first, last) if kind == FORWARD else (last, first)
            waits[kind] = ordered[0].then(layer.times(counts)).then(ordered[1]).wait_ms
        return waits

    # --- the pipeline, and what follows it ---

    def _passes(self, at: Layouts, kernels: Times, ends: int) -> Array:
        """Milliseconds by part, kind, end, piece and layout of one microbatch's pass."""
        counts = at.pieces(self.model.layers).astype(float)
        unit = self._unit(at, kernels, ends)
        passes = unit[:, :, LAYER, :, None] * counts
        passes[..., 0, :] += unit[:, :, FIRST]
        passes[..., -1, :] += unit[:, :, LAST]
        if kernels.issued:
            passes[_HOST] = self._waits(at, kernels, unit, counts)
        if self.assume.blocking_sends:
            send = self.traffic.send(at, ends)[:, None]
            passes[_SENDS, FORWARD, :, :-1] = send
            if self.work.mode == "training":
                passes[_SENDS, BACKWARD, :, 1:] = send
        return passes

    def _hops(self, at: Layouts, ends: int) -> Array:
        """Milliseconds [end, layout] that pass between a stage's end and the arrival of what it sends."""
        return np.zeros((ends, len(at))) if self.assume.blocking_sends else self.traffic.send(at, ends)

    def _pipelines(self, at: Layouts, whole: Array, hops: Array, counts: Array) -> Pipelines:
        """Pipelines of passes [kind, case, piece]."""
        forward, backward = whole.reshape(2, -1, at.interleave, at.pp)
        second = backward if self.work.mode == "training" else None
        return Pipelines(at.schedule, counts, forward, second, hops[:, None].repeat(2, axis=1))

    def _tails(self, at: Layouts, kernels: Times, whole: Array, ends: int) -> Array:
        """Milliseconds [dp or optimizer, end, stage, layout] after a stage's last backward pass."""
        pp, chunks = at.pp, at.interleave
        if self.work.mode == "inference":
            return np.zeros((2, ends, pp, len(at)))
        chosen, which = _kinds(self.model.layers, pp, chunks) if not any(at.stages) else (np.arange(pp),) * 2
        layers = at.pieces(self.model.layers).reshape(chunks, pp, -1).sum(axis=0)[chosen]
        first, last = chosen[:, None] == 0, chosen[:, None] == pp - 1
        words = self.model.vocab * self.model.hidden / at.tp
        backward = whole[BACKWARD].reshape(ends, chunks, pp, -1).sum(axis=1)[:, chosen]
        shared, own = layer_parameters(self.model, at.tp, at.ep)
        start, end = end_parameters(self.model, at.tp)
        weights = layers * shared + start * first + end * last
        if self.model.tied and pp == 1:
            weights = weights - words

        def spent(phase: str) -> Array:
            ms = (kernels.ms(name, phase)[:ends, None] for name in ("layer", "first", "last"))
            return reduce(np.add, (count * each for count, each in zip((layers, first, last), ms, strict=True)))

        dp = self.traffic.gradients(at, weights, layers * own, backward, spent("copies"))
        if self.model.tied and pp > 1:  # both copies of the words agree
            across = (0, at.tp * at.dp * at.cp * (pp - 1), 2, at.gpus)
            dp = dp + (first | last) * self.links.time("all_reduce", across, words * self.size, ends=ends)[:, None]
        update = self._update(at, kernels, spent("optimizer"), layers, first, last)
        return np.array([dp, update])[:, :, which]

    def _update(self, at: Layouts, kernels: Times, busy: Array, layers: Array, first: Array, last: Array) -> Array:
        """Milliseconds of the optimizer; ZeRO divides its kernels' work, not the host time to launch them."""
        share = np.where(at.zero > 0, at.dp * at.cp, 1)
        if not kernels.issued:
            return np.asarray(busy / share)
        ends, runs = len(busy), []
        for name in ("first", "layer", "last"):
            issued, spent, over = kernels.run(name, "optimizer")
            over = over - spent * (1 - 1 / share)
            runs.append(Run(issued[:ends, None], spent / share, over[:ends, None]))
        whole = runs[0].where(first).then(runs[1].times(layers)).then(runs[2].where(last))
        return np.asarray(busy / share + whole.wait_ms)


@lru_cache(maxsize=4096)
def _kinds(layers: int, pp: int, chunks: int) -> tuple[Array, Array]:
    """Stages of an even pipeline that hold different things, and for each stage which of these it is like."""
    held = np.reshape(stages(layers, pp * chunks), (chunks, pp)).sum(axis=0)
    place = np.arange(pp)
    _, chosen, which = np.unique(
        np.stack([held, place == 0, place == pp - 1]), axis=1, return_index=True, return_inverse=True
    )
    return chosen, which.reshape(-1)


def _shapes(layouts: Layouts) -> list[Shape]:
    """The shape of each layout's kernels."""
    return list(map(Shape._make, zip(*(getattr(layouts, name).tolist() for name in Shape._fields), strict=True)))


def sized(forecaster: StepForecaster, batch: int) -> StepForecaster:
    """The same forecaster for another batch; it shares all forecasts, which do not depend on it."""
    other = copy(forecaster)
    other.work = replace(forecaster.work, batch_size=batch)
    other.traffic = Traffic(other.work, forecaster.links, forecaster.assume)
    return other
