"""Bytes a GPU of each pipeline stage holds, and whether they fit.

Activations are counted tensor by tensor as Korthikanti et al. do (arXiv 2205.05198, section 4): what the backward
pass reads, in bytes, with dropout masks of one byte an element. For a GPT layer that is sbh(34 + 5as/h).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.models.architecture import Architecture
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import STANDARD, Assumptions, Layout, Layouts
from tilecast.multigpu.schedule import in_flight
from tilecast.predict.formats import stored

PARTS = (
    "weights", "gradients", "optimizer", "activations", "logits", "kv_cache", "buffers",
    "fragmentation", "context",
)  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """What every stage's GPUs hold; the fullest decides."""

    stages: tuple[dict[str, float], ...]  # part -> bytes, by PARTS
    capacity_bytes: float

    @classmethod
    def of(cls, held: Array, capacity_bytes: float) -> Memory:
        """The bytes [part, stage] of one layout that `held` finds."""
        return cls(tuple(dict(zip(PARTS, stage, strict=True)) for stage in held.T.tolist()), capacity_bytes)

    @property
    def totals(self) -> list[float]:
        """Bytes of each stage."""
        return [sum(stage.values()) for stage in self.stages]

    @property
    def fullest(self) -> int:
        """The stage that holds most."""
        return self.totals.index(max(self.totals))

    @property
    def parts(self) -> dict[str, float]:
        """Bytes by part on the fullest stage."""
        return self.stages[self.fullest]

    @property
    def total_bytes(self) -> float:
        """Bytes on the fullest stage."""
        return max(self.totals)

    @property
    def short_bytes(self) -> float:
        """Bytes that do not fit; negative where some are free."""
        return self.total_bytes - self.capacity_bytes

    @property
    def fits(self) -> bool:
        """Whether every stage fits."""
        return self.short_bytes <= 0

    @property
    def verdict(self) -> str:
        """`fits, 12.3 GB free`, or `does not fit by 3.4 GB`, and on which stage."""
        return verdict(self.short_bytes, self.fullest, len(self.stages))

    @property
    def stage_verdicts(self) -> list[str]:
        """One line a stage; stages in a row that hold the same share a line."""
        width = len(f"stages {len(self.stages) - 1} to {len(self.stages) - 1}")
        lines = []
        for _, alike in groupby(range(len(self.stages)), key=self.stages.__getitem__):
            first, *rest = alike
            total, known = self.totals[first], self.fullest in (first, *rest)
            name = f"stages {first} to {rest[-1]}" if rest else f"stage {first}"
            room = f"{total / 1e9:7.1f} of {self.capacity_bytes / 1e9:.1f} GB"
            words = verdict(total - self.capacity_bytes) + (", the fullest" if known else "")
            lines.append(f"{name:{width}} {room}, {words}")
        return lines


def verdict(short_bytes: float, stage: int = 0, stages: int = 1) -> str:
    """Whether a stage fits, by how much, and which it is."""
    size = f"{abs(short_bytes) / 1e9:.1f} GB"
    where = f" (stage {stage} of {stages})" if stages > 1 else ""
    return (f"fits, {size} free" if short_bytes <= 0 else f"does not fit by {size}") + where


def layer_parameters(model: Architecture, tp: Any = 1, ep: Any = 1) -> tuple[Any, Any]:
    """Parameters of one layer on one GPU, of unequal layers their mean: those all data-parallel ranks share, and
    its experts'."""
    if isinstance(tp, np.ndarray) and tp.size == 1:  # one layout: of its ranks they are known, or soon
        return _layer_of(model, tp.item(), ep.item())
    kv = np.maximum(model.kv_heads / tp, 1)
    attention = model.hidden * model.head_dim * ((1 + model.query_parts) * model.heads / tp + 2 * kv)
    norms = model.blocks * model.hidden * (2 if model.biases else 1)
    if model.biases:
        attention += model.head_dim * (model.heads / tp + 2 * kv) + model.hidden
    if model.latent:
        attention = model.latent_parameters[0] + model.latent_parameters[1] / tp
    mixing = model.attending * attention + model.scanning * model.state_parameters / tp
    ffn = model.ffn_parameters / tp + (model.ffn / tp + model.hidden if model.biases else 0)
    if not model.experts:
        return mixing + norms + (1 if model.plain is None else model.plain) * ffn, 0.0
    shared, own = model.hidden * model.experts + model.shared_parameters / tp, model.experts / ep * ffn
    if (having := model.expert_layers / model.layers) < 1:  # the mean of layers with experts and without
        plain = (1 - having if model.plain is None else model.plain) * model.dense_parameters / tp
        shared, own = having * shared + plain, having * own
    return mixing + norms + shared, own


@lru_cache(maxsize=4096)
def _layer_of(model: Architecture, tp: int, ep: int) -> tuple[Array, Array]:
    shared, own = layer_parameters(model, tp, ep)
    return np.array([shared], dtype=float), np.array([own], dtype=float)


def end_parameters(model: Architecture, tp: Any = 1) -> tuple[Any, Any]:
    """Parameters of the first stage's embedding and of the last stage's norm and head, on one GPU."""
    words = model.vocab * model.hidden / tp
    return words + model.positions * model.hidden + model.extra, words + model.hidden * (1 + model.biases)


def parameters(model: Architecture) -> float:
    """Parameters of the whole model."""
    shared, own = layer_parameters(model)
    first, last = end_parameters(model)
    return float(model.layers * (shared + own) + first + last - (model.vocab * model.hidden if model.tied else 0))


def activation_bytes(model: Architecture, work: Workload, layout: Layout | Layouts) -> tuple[Any, Any]:
    """Bytes one layer keeps of one microbatch for its backward pass, on one GPU; and without recomputation."""
    mode, size = layout.recompute, ELEMENT_BYTES[work.dtype]
    tp, mask = layout.tp, 1.0 if model.dropout else 0.0
    rows = layout.microbatch * work.sequence_length / layout.cp  # tokens
    split = np.where(layout.sequence_parallel, tp, 1)  # of what tensor parallelism alone leaves whole
    token = rows * model.hidden
    queries, keys = model.heads * model.head_dim / tp, np.maximum(model.kv_heads / tp, 1) * model.head_dim
    whole = 2 * size * token + 2 * size * token + 2 * mask * token  # norms, inputs of both blocks, dropout
    attention = size * rows * (2 * queries + 2 * keys)  # q, k, v, input of the output matrix
    # of the softmax; of dropout its mask and its output
    core = rows * work.sequence_length * model.heads / tp * (size + mask * (1 + size))
    if work.attention == "fused":
        core = 0.0 * core  # a fused kernel keeps a row's sum, and computes the rest again
    spread = model.top_k or 1
    wide = rows * model.ffn / tp * spread
    ffn = size * wide * ((4 if model.gated else 2) - (1 if work.fused and model.gated else 0))
    if model.experts:  # tokens gathered for each expert, what each returns, the router's shares in fp32
        ffn = ffn + (2 * size * token * spread + 4 * rows * model.experts)
    every = whole / split + attention + core + ffn
    some = np.where(mode == "selective", whole / split + attention + ffn, every)
    return np.where(mode == "full", size * token / split, some), every


def cache_bytes(model: Architecture, work: Workload, layout: Layout | Layouts, layers: Any) -> Any:
    """Bytes of keys, values and states of all sequences of one replica, of `layers` layers, on one GPU."""
    tokens: float = work.context + (1 if work.phase == "decode" else work.sequence_length)
    if model.window:
        tokens -= model.windowed * max(0.0, tokens - model.window)
    head = model.latent / 2 if model.latent else np.maximum(model.kv_heads / layout.tp, 1) * model.head_dim
    sequences = work.batch_size / layout.dp
    states = layers * model.scanning * model.state_bytes / layout.tp * sequences
    keys = 2 * layers * head * tokens / layout.cp * sequences * ELEMENT_BYTES[work.cache or work.dtype]
    return model.attending * keys + states


def memory(work: Workload, layout: Layout, capacity_bytes: float, assume: Assumptions = STANDARD) -> Memory:
    """What each stage's GPUs hold while `work` runs on `layout`, and whether `capacity_bytes` are enough."""
    return Memory.of(held(work, Layouts.one(layout), assume)[..., 0], capacity_bytes)


def held(work: Workload, layouts: Layouts, assume: Assumptions = STANDARD) -> Array:
    """Bytes [part, stage, layout] of PARTS that each stage's GPUs hold, of pipelines that are alike."""
    model, pp, tp, zero = work.architecture, layouts.pp, layouts.tp, layouts.zero
    layers = layouts.pieces(model.layers).reshape(layouts.interleave, pp, -1).sum(axis=0)
    waits = in_flight(layouts.schedule, pp, layouts.microbatches(work.batch_size), layouts.interleave)
    first, last = (np.arange(pp)[:, None] == end for end in (0, pp - 1))
    shared, own = layer_parameters(model, tp, layouts.ep)
    start, end = end_parameters(model, tp)
    size, training = ELEMENT_BYTES[work.dtype], work.mode == "training"
    replicas = layouts.dp * layouts.cp  # of what all share; experts have fewer
    half = size < 4 and work.mixed and work.optimizer is not None
    states = 4 * work.optimizer_states + (4 if half else 0)
    split = np.where(layouts.sequence_parallel, tp, 1)
    tokens = layouts.microbatch * (1 if work.phase == "decode" else work.sequence_length / layouts.cp)
    ends = start * first + end * last
    if pp == 1 and model.tied:
        ends = ends - model.vocab * model.hidden / tp
    weights, experts = layers * shared + ends, layers * own
    whole, divided = weights + experts, weights / replicas + experts / (replicas / layouts.ep)

    parts = dict.fromkeys(PARTS, np.zeros_like(whole))
    parts["weights"] = np.where(zero >= 3, divided, whole) * size
    if work.products or work.weights:  # of layers; embedding and head stay in 16 bits
        parts["weights"] = (layers * shared + experts) * stored(work).weight_bytes + ends * size
    # ZeRO-3: the layer at work and the next one, gathered; both ends, which stay so. Training: one layer's
    # gradients, whole, and the copy of them that is on its way.
    if (gathered := zero >= 3).any():
        parts["buffers"] = np.where(gathered, (4 if training else 2) * (shared + own) * size + ends * size, 0.0)
    if training:
        kept, every = activation_bytes(model, work, layouts)
        again = every - kept  # of the layer being computed again
        parts["gradients"] = np.where(zero >= 2, divided, whole) * size
        parts["optimizer"] = np.where(zero >= 1, divided, whole) * states
        parts["activations"] = kept * layers * waits + again
        if model.dropout:  # masks of the embedding's
            parts["activations"] = parts["activations"] + waits * tokens * model.hidden / split * first
        # input of the last norm and of the head; logits in fp32 for the loss
        parts["logits"] = last * (tokens * (2 * model.hidden * size / split + 4 * model.vocab / tp))
        parts["buffers"] = parts["buffers"] + np.where(
            (replicas > 1) & layouts.overlap, 2 * assume.bucket_bytes, 0.0
        )
    else:
        wide = model.ffn * (model.top_k or 1) / tp
        parts["activations"] = parts["activations"] + tokens * size * 4 * (model.hidden + wide)
        parts["logits"] = last * (tokens * model.vocab / tp * size)
        parts["kv_cache"] = cache_bytes(model, work, layouts, layers)
    parts["fragmentation"] = assume.fragmentation * sum(parts.values())
    parts["context"] = np.full_like(whole, assume.context_bytes)
    return np.array(list(parts.values()))
