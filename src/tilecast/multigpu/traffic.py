"""Communication times of a layout: tensor, expert, context, pipeline and data parallelism."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Assumptions, Layout
from tilecast.multigpu.links import Links
from tilecast.multigpu.memory import end_parameters, layer_parameters
from tilecast.multigpu.schedule import BACKWARD, FORWARD

# what a pass through a piece of the model is made of, and the places it has
UNIT = ("compute", "recompute", "tp", "ep", "cp", "dp", "host", "pp")
FIRST, LAYER, LAST = range(3)
SHARDED = UNIT.index("dp")


class Traffic:
    """Milliseconds of the messages of one workload on the links of one system."""

    def __init__(self, work: Workload, links: Links, assume: Assumptions) -> None:
        self.work, self.links, self.assume = work, links, assume
        self.model, self.size = work.architecture, ELEMENT_BYTES[work.dtype]

    def rows(self, layout: Layout) -> float:
        """Tokens of a microbatch on one GPU."""
        return layout.microbatch * (1 if self.work.phase == "decode" else self.work.sequence_length / layout.cp)

    def tensor_parallel(self, layout: Layout, out: Array) -> None:
        """Two all-reduces a layer and pass, or as many gathers and scatters; the vocabulary's own at both ends."""
        if layout.tp == 1:
            return
        group = (0, 1, layout.tp, layout.gpus)
        token = self.rows(layout) * self.model.hidden * self.size
        gather, scatter = (self.links.time(op, group, token) for op in ("all_gather", "reduce_scatter"))
        both = gather + scatter if layout.sequence_parallel else self.links.time("all_reduce", group, token)
        one = scatter if layout.sequence_parallel else both
        other = gather if layout.sequence_parallel else np.zeros(3)
        out[FORWARD, LAYER] = out[BACKWARD, LAYER] = 2 * both
        out[FORWARD, FIRST], out[BACKWARD, FIRST] = one, other
        if self.work.mode == "training":
            loss = 3 * self.links.time("all_reduce", group, 4 * self.rows(layout))  # largest, sum, target
            out[FORWARD, LAST], out[BACKWARD, LAST] = other + loss, one
        else:
            logits = layout.microbatch * self.model.vocab * self.size
            out[FORWARD, LAST] = other + self.links.time("all_gather", group, logits)
        out *= 1 - self.assume.tp_overlap
        if self.work.mode == "inference":
            out[BACKWARD] = 0

    def expert_parallel(self, layout: Layout, out: Array) -> None:
        """Tokens go to their experts and come back, forward and backward."""
        if layout.ep == 1:
            return
        rows = self.rows(layout) / (layout.tp if layout.sequence_parallel else 1)
        sent = rows * self.model.top_k * self.model.hidden * self.size
        group = (0, layout.tp * layout.cp, layout.ep, layout.gpus)
        out[FORWARD, LAYER] = 2 * self.links.time("all_to_all", group, sent)
        out[BACKWARD, LAYER] = out[FORWARD, LAYER] * (self.work.mode == "training")

    def context_parallel(self, layout: Layout, out: Array, core: Array) -> None:
        """Keys and values go round the ring while attention works on those at hand; gradients go back too."""
        if layout.cp == 1:
            return
        keys = max(self.model.kv_heads / layout.tp, 1) * self.model.head_dim * self.rows(layout) * self.size
        hop = self.links.hop(layout.tp, layout.cp, layout.gpus)
        for kind, tensors, work in ((FORWARD, 2, 1.0), (BACKWARD, 4, 2.0)):
            send = self.links.time("send_recv", hop, tensors * keys)
            out[kind, LAYER] = (layout.cp - 1) * self.beside(layout, send, work * core / layout.cp)
        if self.work.mode == "inference":
            out[BACKWARD] = 0

    def sharded_weights(self, layout: Layout, unit: Array, kernels: Mapping[tuple[str, str], Array]) -> None:
        """ZeRO-3: weights are gathered before each use, gradients scattered after: beside compute, or not.

        As PyTorch's FSDP does: layer by layer, the next one's weights on their way while one computes; gathering
        and scattering take turns; what was gathered is copied to where it is used, gradients to where they leave.
        """
        shared, own = layer_parameters(self.model, layout.tp, layout.ep)
        gather, scatter = (self.grouped(op, layout, shared, own) for op in ("all_gather", "reduce_scatter"))
        busy = unit.sum(axis=0)
        for kind, travel in ((FORWARD, gather), (BACKWARD, gather + scatter)):
            unit[SHARDED, kind, LAYER] = self.beside(layout, travel, busy[kind, LAYER])
        # Nothing hides the first layer's gathering and the last one's scattering, nor either end's.
        first, last = (
            self.grouped("all_gather", layout, count, 0) for count in end_parameters(self.model, layout.tp)
        )
        unit[SHARDED, FORWARD, FIRST], unit[SHARDED, FORWARD, LAST] = first + gather, last
        if self.work.mode == "training":
            unit[SHARDED, BACKWARD, FIRST] = first + scatter  # what is scattered is as large
            unit[SHARDED, BACKWARD, LAST] = last
        else:
            unit[SHARDED, BACKWARD] = 0
        for place, name in enumerate(("first", "layer", "last")):
            copy = kernels[name, "copies"] / 2  # of all its parameters, once
            unit[SHARDED, FORWARD, place] += copy
            unit[SHARDED, BACKWARD, place] += 2 * copy

    def beside(self, layout: Layout, travel: Array, busy: Array) -> Array:
        """Milliseconds that communication adds to kernels beside it: by outlasting them, or by slowing them."""
        if not layout.overlap:
            return travel
        return np.asarray(np.maximum(travel - busy, self.assume.taken * travel))

    def grouped(self, op: str, layout: Layout, shared: float, own: float) -> Array:
        """A collective over parameters: those all replicas share, and experts', which fewer do."""
        stride, ranks = layout.tp, layout.dp * layout.cp
        every = (0, stride, ranks, layout.gpus)
        experts = (0, stride * layout.ep, ranks // layout.ep, layout.gpus)
        return self.links.time(op, every, shared * self.size) + self.links.time(op, experts, own * self.size)

    def send(self, layout: Layout, ends: int) -> Array:
        """Milliseconds for a microbatch to reach the next stage; each tensor rank sends its share of it."""
        if layout.pp == 1:
            return np.zeros(ends)
        token = self.rows(layout) * self.model.hidden * self.size
        hop = self.links.hop(layout.tp * layout.cp * layout.dp, layout.pp, layout.gpus)
        send = self.links.time("send_recv", hop, token / layout.tp)
        if layout.tp > 1 and not layout.sequence_parallel:
            send = send + self.links.time("all_gather", (0, 1, layout.tp, layout.gpus), token)
        return send[:ends]

    def gradients(self, layout: Layout, shared: float, own: float, backward: Array, copies: Array) -> Array:
        """Milliseconds that exchanging a stage's gradients adds to its last backward pass.

        Buckets are sent one after the other, each when its share of the backward pass is over: all but the last
        travel beside what is left of the pass once the first is ready, the last after it. `copies` is what moving
        gradients into buckets and back costs. ZeRO-1 and -2 scatter gradients, and gather weights after the
        optimizer; ZeRO-2 scatters at every microbatch.
        """
        ends = len(backward)
        if layout.dp * layout.cp == 1 or layout.zero >= 3:
            return np.zeros(ends)
        op = "reduce_scatter" if layout.zero else "all_reduce"
        buckets = max(1, int(-(-(shared + own) * self.size // self.assume.bucket_bytes)))
        each = self.grouped(op, layout, shared / buckets, own / buckets)[:ends]
        exposed = buckets * each
        if layout.overlap:
            exposed = self.beside(layout, (buckets - 1) * each, backward * (1 - 1 / buckets)) + each + copies
        if layout.zero == 2:
            exposed = exposed * layout.microbatches(self.work.batch_size)
        if layout.zero:
            exposed = exposed + self.grouped("all_gather", layout, shared, own)[:ends]
        return np.asarray(exposed)
