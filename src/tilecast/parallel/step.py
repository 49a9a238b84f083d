"""One step of training or inference on many GPUs: kernels, collectives and schedule put together.

A `Planner` forecasts the kernels of a microbatch once per shape (tp, cp, ep, microbatch), the rest by arithmetic:
`step` simulates one layout event by event, `latencies` thousands of them at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilecast.errors import InputError
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.hardware.system import System
from tilecast.parallel.kernels import NOTHING, Kernels, Run, sent
from tilecast.parallel.layout import STANDARD, Assumptions, Layout, Work, check, stages
from tilecast.parallel.links import Links
from tilecast.parallel.memory import Memory, end_parameters, layer_parameters, memory
from tilecast.parallel.schedule import BACKWARD, FORWARD, Event, simulate, stage_ends
from tilecast.parallel.shard import Shape, Share
from tilecast.predict.base import Predictor

Array = np.ndarray[Any, np.dtype[Any]]
PARTS = ("compute", "recompute", "host", "tp", "ep", "cp", "dp", "pp", "bubble", "optimizer")
# what a pass through a piece of the model is made of
_UNIT = ("compute", "recompute", "tp", "ep", "cp", "dp", "host", "pp")
_FIRST, _LAYER, _LAST = range(3)
_HOST, _SENDS = _UNIT.index("host"), _UNIT.index("pp")


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
    """Forecasts of one piece of work on one system; kernels and collectives are forecast once."""

    def __init__(
        self,
        work: Work,
        system: System,
        device: Device,
        predictor: Predictor,
        assume: Assumptions = STANDARD,
        traced: Mapping[Shape, Share] | None = None,
    ) -> None:
        self.work, self.device, self.predictor, self.assume = work, device, predictor, assume
        self.model = work.stack
        self.links = Links(system, assume.link_share)
        self.size = ELEMENT_BYTES[work.dtype]
        self.kernels = Kernels(work, device, predictor, assume.compute_share, traced)
        self._units: dict[tuple[Any, ...], Array] = {}
        self._waits: dict[tuple[Any, ...], Array] = {}

    def memory(self, layout: Layout) -> Memory:
        """What each stage's GPUs hold."""
        return memory(self.work, layout, self.device.memory_bytes, self.assume)

    def check(self, layout: Layout) -> None:
        """One line if the layout cannot run this work on this system."""
        check(layout, self.model, None, self.work.batch, self.work.sequence)
        if layout.gpus > self.links.system.gpus:
            problem = f"needs {layout.gpus} GPUs, the system has {self.links.system.gpus}"
            raise InputError(f"layout {layout.label}", problem, "choose a larger system or smaller ranks")

    def step(self, layout: Layout) -> Step:
        """The forecast of one layout, event by event."""
        self.check(layout)
        work, count = self.work, layout.microbatches(self.work.batch)
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
            for number, name in enumerate(_UNIT):
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

    def latencies(self, layouts: Sequence[Layout]) -> Array:
        """Milliseconds of each (legal) layout, many at once: what `step` finds, without events and intervals."""
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, layout in enumerate(layouts):
            count = layout.microbatches(self.work.batch)
            groups[layout.schedule, layout.pp, count, layout.interleave].append(place)
        found = np.zeros(len(layouts))
        training = self.work.mode == "training"
        for (schedule, _, count, _), places in groups.items():
            whole = [self._passes(layouts[place], 1).sum(axis=0) for place in places]
            send = np.array([[float(self._hops(layouts[place], 1)[0])] * 2 for place in places])
            forward = np.array([times[FORWARD, 0] for times in whole])
            backward = np.array([times[BACKWARD, 0] for times in whole]) if training else None
            ends = stage_ends(schedule, count, forward, backward, send)
            for place, times, end in zip(places, whole, ends, strict=True):
                found[place] = (end + self._tails(layouts[place], times, 1).sum(axis=0)[0]).max()
        return found

    # --- a microbatch through one piece of the model ---

    def _unit(self, layout: Layout) -> Array:
        """Milliseconds by part (_UNIT), kind (forward, backward), place (first, layer, last), interval's end."""
        key = self._unit_key(layout)
        if key in self._units:
            return self._units[key]
        unit = np.zeros((len(_UNIT), 2, 3, 3))
        kernels = self.kernels(Shape.of(layout)).ms
        for place, name in enumerate(("first", "layer", "last")):
            unit[0, FORWARD, place] = kernels[name, "forward"]
            unit[0, BACKWARD, place] = kernels[name, "backward"]
        if self.work.mode == "inference":
            unit[:, BACKWARD] = 0
        self._tensor_parallel(layout, unit[2])
        self._expert_parallel(layout, unit[3])
        self._context_parallel(layout, unit[4], kernels["layer", "core"])
        if layout.recompute == "full":
            unit[1, BACKWARD, _LAYER] = unit[0, FORWARD, _LAYER]
            unit[2:5, BACKWARD, _LAYER] += unit[2:5, FORWARD, _LAYER]
        elif layout.recompute == "selective" and self.work.attention != "fused":
            unit[1, BACKWARD, _LAYER] = kernels["layer", "core"]
        if layout.zero >= 3:
            self._sharded_weights(layout, unit)
        self._units[key] = unit
        return unit

    def _unit_key(self, layout: Layout) -> tuple[Any, ...]:
        """What of a layout a pass through one piece depends on."""
        zero3 = layout.dp * layout.cp if layout.zero >= 3 else 0
        return (Shape.of(layout), layout.recompute, layout.overlap, zero3)

    def _wait(self, layout: Layout, layers: int, first: bool, last: bool) -> Array:
        """Milliseconds [kind, interval's end] that a pass through a piece waits for the host."""
        key = (*self._unit_key(layout), layers, first, last)
        if key not in self._waits:
            runs = self.kernels(Shape.of(layout)).runs
            self._waits[key] = np.zeros((2, 3)) if runs is None else self._host(layout, runs, layers, first, last)
        return self._waits[key]

    def _host(
        self, layout: Layout, runs: Mapping[tuple[str, str], Run], layers: int, first: bool, last: bool
    ) -> Array:
        messages = self._unit(layout)[2:6, :, :, 0].sum(axis=0)  # kind, place
        waits = np.zeros((2, 3))
        for kind, phase in ((FORWARD, "forward"), (BACKWARD, "backward")):
            if kind == BACKWARD and self.work.mode == "inference":
                break
            layer = runs["layer", phase].then(sent(messages[kind, _LAYER]))
            if kind == BACKWARD and layout.recompute == "full":
                layer = runs["layer", "forward"].then(layer)
            start = runs["first", phase].then(sent(messages[kind, _FIRST])) if first else NOTHING
            end = runs["last", phase].then(sent(messages[kind, _LAST])) if last else NOTHING
            ordered = (start, end) if kind == FORWARD else (end, start)
            waits[kind] = ordered[0].then(layer.times(layers)).then(ordered[1]).wait_ms
        return waits

    def _rows(self, layout: Layout) -> float:
        """Tokens of a microbatch on one GPU."""
        return layout.microbatch * (1 if self.work.phase == "decode" else self.work.sequence / layout.cp)

    def _tensor_parallel(self, layout: Layout, out: Array) -> None:
        """Two all-reduces a layer and pass, or as many gathers and scatters; the vocabulary's own at both ends."""
        if layout.tp == 1:
            return
        group = (0, 1, layout.tp, layout.gpus)
        token = self._rows(layout) * self.model.hidden * self.size
        gather, scatter = (self.links.time(op, group, token) for op in ("all_gather", "reduce_scatter"))
        both = gather + scatter if layout.sequence_parallel else self.links.time("all_reduce", group, token)
        one = scatter if layout.sequence_parallel else both
        other = gather if layout.sequence_parallel else np.zeros(3)
        out[FORWARD, _LAYER] = out[BACKWARD, _LAYER] = 2 * both
        out[FORWARD, _FIRST], out[BACKWARD, _FIRST] = one, other
        if self.work.mode == "training":
            loss = 3 * self.links.time("all_reduce", group, 4 * self._rows(layout))  # largest, sum, target
            out[FORWARD, _LAST], out[BACKWARD, _LAST] = other + loss, one
        else:
            logits = layout.microbatch * self.model.vocab * self.size
            out[FORWARD, _LAST] = other + self.links.time("all_gather", group, logits)
        out *= 1 - self.assume.tp_overlap
        if self.work.mode == "inference":
            out[BACKWARD] = 0

    def _expert_parallel(self, layout: Layout, out: Array) -> None:
        """Tokens go to their experts and come back, forward and backward."""
        if layout.ep == 1:
            return
        rows = self._rows(layout) / (layout.tp if layout.sequence_parallel else 1)
        sent = rows * self.model.top_k * self.model.hidden * self.size
        group = (0, layout.tp * layout.cp, layout.ep, layout.gpus)
        out[FORWARD, _LAYER] = 2 * self.links.time("all_to_all", group, sent)
        out[BACKWARD, _LAYER] = out[FORWARD, _LAYER] * (self.work.mode == "training")

    def _context_parallel(self, layout: Layout, out: Array, core: Array) -> None:
        """Keys and values go round the ring while attention works on those at hand; gradients go back too."""
        if layout.cp == 1:
            return
        keys = max(self.model.kv_heads / layout.tp, 1) * self.model.head_dim * self._rows(layout) * self.size
        hop = self.links.hop(layout.tp, layout.cp, layout.gpus)
        for kind, tensors, work in ((FORWARD, 2, 1.0), (BACKWARD, 4, 2.0)):
            send = self.links.time("send_recv", hop, tensors * keys)
            hidden = work * core / layout.cp if layout.overlap else 0.0
            out[kind, _LAYER] = (layout.cp - 1) * np.maximum(0.0, send - hidden)
        if self.work.mode == "inference":
            out[BACKWARD] = 0

    def _sharded_weights(self, layout: Layout, unit: Array) -> None:
        """ZeRO-3: weights are gathered before each use, gradients scattered after: beside compute, or not."""
        shared, own = layer_parameters(self.model, layout.tp, layout.ep)
        gather, scatter = (self._grouped(op, layout, shared, own) for op in ("all_gather", "reduce_scatter"))
        busy = unit.sum(axis=0)
        for kind, travel in ((FORWARD, gather), (BACKWARD, gather + scatter)):
            hidden = busy[kind, _LAYER] if layout.overlap else 0.0
            unit[5, kind, _LAYER] = np.maximum(0.0, travel - hidden)
        # Nothing hides the first layer's gathering and the last one's scattering, nor either end's.
        first, last = (
            self._grouped("all_gather", layout, count, 0) for count in end_parameters(self.model, layout.tp)
        )
        unit[5, FORWARD, _FIRST], unit[5, FORWARD, _LAST] = first + gather, last
        if self.work.mode == "training":
            unit[5, BACKWARD, _FIRST] = first + scatter  # what is scattered is as large
            unit[5, BACKWARD, _LAST] = last
        else:
            unit[5, BACKWARD] = 0

    def _grouped(self, op: str, layout: Layout, shared: float, own: float) -> Array:
        """A collective over parameters: those all replicas share, and experts', which fewer do."""
        stride, ranks = layout.tp, layout.dp * layout.cp
        every = (0, stride, ranks, layout.gpus)
        experts = (0, stride * layout.ep, ranks // layout.ep, layout.gpus)
        return self.links.time(op, every, shared * self.size) + self.links.time(op, experts, own * self.size)

    # --- the pipeline, and what follows it ---

    def _passes(self, layout: Layout, ends: int) -> Array:
        """Milliseconds by part, kind, interval's end, chunk and stage of one microbatch's pass."""
        unit = self._unit(layout)[..., :ends]
        pieces = layout.pp * layout.interleave
        counts = np.array(stages(self.model.layers, pieces), dtype=float)
        passes = unit[:, :, _LAYER, :, None] * counts
        passes[..., 0] += unit[:, :, _FIRST]
        passes[..., -1] += unit[:, :, _LAST]
        for piece in range(pieces):
            wait = self._wait(layout, int(counts[piece]), piece == 0, piece == pieces - 1)
            passes[_HOST, :, :, piece] = wait[:, :ends]
        if self.assume.blocking_sends:
            send = self._send(layout, ends)[:, None]
            passes[_SENDS, FORWARD, :, :-1] = send
            if self.work.mode == "training":
                passes[_SENDS, BACKWARD, :, 1:] = send
        return np.asarray(passes.reshape(len(_UNIT), 2, ends, layout.interleave, layout.pp))

    def _hops(self, layout: Layout, ends: int) -> Array:
        """Milliseconds that pass between a stage's end and the arrival of what it sends."""
        return np.zeros(ends) if self.assume.blocking_sends else self._send(layout, ends)

    def _send(self, layout: Layout, ends: int) -> Array:
        """Milliseconds for a microbatch to reach the next stage; each tensor rank sends its share of it."""
        if layout.pp == 1:
            return np.zeros(ends)
        token = self._rows(layout) * self.model.hidden * self.size
        hop = self.links.hop(layout.tp * layout.cp * layout.dp, layout.pp, layout.gpus)
        send = self.links.time("send_recv", hop, token / layout.tp)
        if layout.tp > 1 and not layout.sequence_parallel:
            send = send + self.links.time("all_gather", (0, 1, layout.tp, layout.gpus), token)
        return send[:ends]

    def _tails(self, layout: Layout, whole: Array, ends: int) -> Array:
        """Milliseconds [dp or optimizer, interval's end, stage] after a stage's last backward pass."""
        pp = layout.pp
        tails = np.zeros((2, ends, pp))
        if self.work.mode == "inference":
            return tails
        counts = (
            np.array(stages(self.model.layers, pp * layout.interleave)).reshape(layout.interleave, pp).sum(axis=0)
        )
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
                dp = self._gradients(layout, held, key[0] * own, backward[:, stage], copies[:ends])
                if self.model.tied and pp > 1 and (key[1] or key[2]):  # both copies of the words agree
                    words = self.model.vocab * self.model.hidden / layout.tp * self.size
                    across = (0, layout.tp * replicas * (pp - 1), 2, layout.gpus)
                    dp = dp + self.links.time("all_reduce", across, words)[:ends]
                known[key] = dp, self._update(layout, opt, *key)[:ends]
            tails[0, :, stage], tails[1, :, stage] = known[key]
        return tails

    def _update(self, layout: Layout, busy: Array, layers: int, first: bool, last: bool) -> Array:
        """Milliseconds of the optimizer; ZeRO shares its work out, but not what issuing it takes."""
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

    def _gradients(self, layout: Layout, shared: float, own: float, backward: Array, copies: Array) -> Array:
        """Milliseconds that exchanging a stage's gradients adds to its last backward pass.

        Buckets are sent one after the other, each when its share of the backward pass is over: the end is the
        later of all buckets in a row after the first is ready, and one after the last is. `copies` is what moving
        gradients into buckets and back costs. ZeRO-1 and -2 scatter gradients, and gather weights after the
        optimizer; ZeRO-2 scatters at every microbatch.
        """
        ends = len(backward)
        if layout.dp * layout.cp == 1 or layout.zero >= 3:
            return np.zeros(ends)
        op = "reduce_scatter" if layout.zero else "all_reduce"
        buckets = max(1, int(-(-(shared + own) * self.size // self.assume.bucket_bytes)))
        each = self._grouped(op, layout, shared / buckets, own / buckets)[:ends]
        exposed = buckets * each
        if layout.overlap:
            exposed = np.maximum(each, buckets * each - backward * (1 - 1 / buckets))
            exposed = exposed + copies
        if layout.zero == 2:
            exposed = exposed * layout.microbatches(self.work.batch)
        if layout.zero:
            exposed = exposed + self._grouped("all_gather", layout, shared, own)[:ends]
        return np.asarray(exposed)
