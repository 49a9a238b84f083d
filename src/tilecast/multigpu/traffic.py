"""Communication times of layouts: tensor, expert, context, pipeline and data parallelism.

Every time is an array: forecast, low and high end (or the first of these), then what its docstring says, then
layouts, which are pipelines that are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.models.workload import Workload
from tilecast.multigpu.kernels import Times
from tilecast.multigpu.layout import Assumptions, Layouts
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

    def rows(self, at: Layouts) -> Array:
        """Tokens of a microbatch on one GPU."""
        return np.asarray(
            at.microbatch * (1 if self.work.phase == "decode" else self.work.sequence_length / at.cp)
        )

    def tensor_parallel(self, at: Layouts, out: Array) -> None:
        """An all-reduce a block and pass, or as many gathers and scatters; the vocabulary's own at both ends."""
        group, split, ends = (0, 1, at.tp, at.gpus), at.sequence_parallel, out.shape[2]
        token = self.rows(at) * self.model.hidden * self.size
        gather, scatter = (
            self.links.time(op, group, token, split, ends) for op in ("all_gather", "reduce_scatter")
        )
        both = gather + scatter + self.links.time("all_reduce", group, token, ~split, ends)
        one, other = np.where(split, scatter, both), gather
        out[:, LAYER] = self.model.blocks * both
        out[FORWARD, FIRST], out[BACKWARD, FIRST] = one, other
        if self.work.mode == "training":
            loss = 3 * self.links.time("all_reduce", group, 4 * self.rows(at), ends=ends)  # largest, sum, target
            out[FORWARD, LAST], out[BACKWARD, LAST] = other + loss, one
        else:
            logits = at.microbatch * self.model.vocab * self.size
            out[FORWARD, LAST] = other + self.links.time("all_gather", group, logits, ends=ends)
        out *= 1 - self.assume.tp_overlap

    def expert_parallel(self, at: Layouts, out: Array) -> None:
        """Tokens go to their experts and come back, forward and backward."""
        if self.model.experts:
            rows = self.rows(at) / np.where(at.sequence_parallel, at.tp, 1)
            sent = rows * self.model.top_k * self.model.hidden * self.size
            group = (0, at.tp * at.cp, at.ep, at.gpus)
            having = self.model.expert_layers / self.model.layers  # the mean layer's
            out[:, LAYER] = having * 2 * self.links.time("all_to_all", group, sent, ends=out.shape[2])

    def context_parallel(self, at: Layouts, out: Array, core: Array) -> None:
        """Keys and values go round the ring while attention works on those at hand; gradients go back too."""
        if (ring := at.cp > 1).any():
            keys = np.maximum(self.model.kv_heads / at.tp, 1) * self.model.head_dim * self.rows(at) * self.size
            hop = self.links.hop(at.tp, at.cp, at.gpus)
            for kind, tensors, work in ((FORWARD, 2, 1.0), (BACKWARD, 4, 2.0)):
                send = self.links.time("send_recv", hop, tensors * keys, ring, out.shape[2])
                out[kind, LAYER] = (at.cp - 1) * self.beside(at, send, work * core / at.cp)

    def sharded_weights(self, at: Layouts, unit: Array, kernels: Times) -> None:
        """ZeRO-3: weights are gathered before each use, gradients scattered after: beside compute, or not.

        As PyTorch's FSDP does: layer by layer, the next one's weights on their way while one computes; gathering
        and scattering take turns; what was gathered is copied to where it is used, gradients to where they leave.
        """
        if not (able := at.zero >= 3).any():
            return
        ends = unit.shape[3]
        shared, own = layer_parameters(self.model, at.tp, at.ep)
        gather, scatter = (
            self.grouped(op, at, shared, own, able, ends) for op in ("all_gather", "reduce_scatter")
        )
        busy, out = unit.sum(axis=0), unit[SHARDED]
        for kind, travel in ((FORWARD, gather), (BACKWARD, gather + scatter)):
            out[kind, LAYER] = self.beside(at, travel, busy[kind, LAYER])
        # Nothing hides the first layer's gathering and the last one's scattering, nor either end's.
        first, last = (
            self.grouped("all_gather", at, count, 0.0 * count, able, ends)
            for count in end_parameters(self.model, at.tp)
        )
        out[FORWARD, FIRST], out[:, LAST] = first + gather, last
        out[BACKWARD, FIRST] = first + scatter  # what is scattered is as large
        if self.work.mode == "inference":
            out[BACKWARD] = 0
        for place, name in enumerate(("first", "layer", "last")):
            copy = kernels.ms(name, "copies")[:ends] / 2  # of all its parameters, once
            out[FORWARD, place] += copy
            out[BACKWARD, place] += 2 * copy
        out[:] = np.where(able, out, 0.0)

    def beside(self, at: Layouts, travel: Array, busy: Array) -> Array:
        """Milliseconds that communication adds to kernels beside it: by outlasting them, or by slowing them."""
        return np.where(at.overlap, np.maximum(travel - busy, self.assume.taken * travel), travel)

    def grouped(self, op: Any, at: Layouts, shared: Any, own: Any, where: Array, ends: int) -> Array:
        """Collectives over parameters: those all replicas share, and experts', which fewer do."""
        stride, ranks = at.tp, at.dp * at.cp
        found = self.links.time(op, (0, stride, ranks, at.gpus), shared * self.size, where, ends)
        if self.model.experts:
            experts = (0, stride * at.ep, ranks // at.ep, at.gpus)
            found = found + self.links.time(op, experts, own * self.size, where, ends)
        return found

    def send(self, at: Layouts, ends: int) -> Array:
        """Milliseconds for a microbatch to reach the next stage; each tensor rank sends its share of it."""
        if at.pp == 1:
            return np.zeros((ends, len(at)))
        token = self.rows(at) * self.model.hidden * self.size
        hop = self.links.hop(at.tp * at.cp * at.dp, at.pp, at.gpus)
        send = self.links.time("send_recv", hop, token / at.tp, ends=ends)
        whole = (0, 1, at.tp, at.gpus)
        return send + self.links.time("all_gather", whole, token, ~at.sequence_parallel, ends)

    def gradients(self, at: Layouts, shared: Array, own: Array, backward: Array, copies: Array) -> Array:
        """Milliseconds that exchanging stages' gradients adds to their last backward pass, by stage.

        Buckets are sent one after the other, each when its share of the backward pass is over: all but the last
        travel beside what is left of the pass once the first is ready, the last after it. `copies` is what moving
        gradients into buckets and back costs. ZeRO-1 and -2 scatter gradients, and gather weights after the
        optimizer; ZeRO-2 scatters at every microbatch.
        """
        able, ends = (at.dp * at.cp > 1) & (at.zero < 3), len(backward)
        if not able.any():
            return np.zeros_like(backward)
        op = np.where(at.zero > 0, "reduce_scatter", "all_reduce")
        buckets = np.maximum(1, -(-(shared + own) * self.size // self.assume.bucket_bytes))
        each = self.grouped(op, at, shared / buckets, own / buckets, able, ends)
        hidden = self.beside(at, (buckets - 1) * each, backward * (1 - 1 / buckets)) + each + copies
        exposed = np.where(at.overlap, hidden, buckets * each)
        exposed = exposed * np.where(at.zero == 2, at.microbatches(self.work.batch_size), 1)
        exposed = exposed + self.grouped("all_gather", at, shared, own, able & (at.zero > 0), ends)
        return np.where(able, exposed, 0.0)
