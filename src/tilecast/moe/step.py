"""One decoding step of a mixture of experts on several GPUs: what it computes, sends, fetches and waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tilecast.graph.routing import Routing
from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.moe.exchange import Exchange, exchange
from tilecast.moe.model import ACTIVATION_BYTES, MoeModel
from tilecast.moe.offload import Predictor, Transfer, lru_hit_rate, transfer
from tilecast.moe.placement import Placement, Spread
from tilecast.moe.routing import Chances, chances
from tilecast.multigpu.collectives import collective


@dataclass(frozen=True)
class Gpu:
    """Rates that a kernel can count on: shares of the makers' peaks."""

    memory_bytes: float
    flops_per_s: float
    bandwidth_bytes_per_s: float
    host_bytes_per_s: float


@dataclass(frozen=True)
class Shares:
    """What is reached of a peak rate: matrix units, device memory, PCIe."""

    matrix: float
    memory: float
    host: float


@dataclass(frozen=True)
class Step:
    """One step of every GPU, milliseconds; bytes are of one GPU."""

    dense_ms: float  # attention and everything outside the experts
    experts_ms: float
    exchange_ms: float  # dispatch and combine
    reduce_ms: float  # all-reduces of tensor parallelism
    waiting_ms: float  # for experts from the host
    sent_bytes: float
    fetched_bytes: float
    wrong_bytes: float  # of these, prefetched for nothing
    hit_rate: float
    distinct_experts: float  # of the busiest GPU, in one layer
    dropped: float  # share of assignments over the experts' capacity
    tokens: int  # of all GPUs

    @property
    def communication_ms(self) -> float:
        """Between GPUs."""
        return self.exchange_ms + self.reduce_ms

    @property
    def total_ms(self) -> float:
        """The step."""
        return self.dense_ms + self.experts_ms + self.communication_ms + self.waiting_ms

    @property
    def tokens_per_s(self) -> float:
        """Of all GPUs."""
        return self.tokens / self.total_ms * 1e3


def gpu_of(device: Device, shares: Shares, dtype: str = "bf16") -> Gpu:
    """The rates of a described device; its PCIe link is the way to the host."""
    host = sum(link.bytes_per_s for link in device.links if link.kind.startswith("pcie"))
    return Gpu(
        device.memory_bytes,
        device.peak_flops_per_s(dtype, matrix=True) * shares.matrix,
        device.bandwidth_bytes_per_s * shares.memory,
        host * shares.host,
    )


@dataclass(frozen=True)
class Demand:
    """What a replica's tokens ask of the busiest GPU in one layer."""

    assigned: float  # tokens times experts
    distinct: float
    imbalance: float  # busiest against mean
    dropped: float  # share of all assignments
    asked: Chances  # chance of each of its experts to be asked for in a step


def demand(model: MoeModel, spread: Spread, tokens: float, routing: Routing) -> Demand:
    """Expected load of every rank when a replica decodes `tokens`, experts dealt in turn; the busiest one's."""
    chance = chances(model.experts, model.top_k, routing.exponent)
    loads = tokens * chance
    if routing.capacity is not None:
        loads = np.minimum(loads, routing.capacity * tokens * model.top_k / model.experts)
    asked = 1 - (1 - chance) ** tokens
    ranks = [slice(rank, None, spread.expert) for rank in range(spread.expert)]
    assigned = [float(loads[own].sum()) for own in ranks]
    distinct = [float(asked[own].sum()) for own in ranks]
    busiest = max(range(spread.expert), key=lambda rank: (assigned[rank], distinct[rank]))
    kept = sum(assigned)
    return Demand(
        assigned[busiest],
        max(distinct),
        assigned[busiest] * spread.expert / kept,
        1 - kept / (tokens * model.top_k),
        asked[ranks[busiest]],
    )


def decode(
    model: MoeModel,
    gpu: Gpu,
    system: System,
    spread: Spread,
    placement: Placement,
    *,
    tokens_per_gpu: int,
    context_tokens: int,
    routing: Routing,
    predictor: Predictor,
    hit_rate: float | None = None,
) -> Step:
    """One step in which each GPU decodes `tokens_per_gpu` tokens; `hit_rate` None: that of an LRU cache.

    The busiest GPU sets the pace. Nothing overlaps but prefetching with everything that is not waiting for it.
    """
    own = tokens_per_gpu * spread.tensor  # tokens of one expert rank, whose GPUs share each layer
    asked = demand(model, spread, own * spread.expert, routing)
    expert_bytes = model.expert_bytes / spread.tensor
    matrix = 2 * model.expert_parameters * asked.assigned / spread.tensor / gpu.flops_per_s
    experts_s = max(matrix, asked.distinct * expert_bytes / gpu.bandwidth_bytes_per_s)

    share = 1 / spread.tensor / model.layers
    read = (model.dense_bytes_a_token + own * context_tokens * model.kv_bytes) * share
    work = 2 * model.dense_parameters * model.layers / model.stored_layers * own * share
    dense_s = max(read / gpu.bandwidth_bytes_per_s, work / gpu.flops_per_s)

    sent = _exchange(model, system, spread, own, asked.imbalance)
    reduce_s = _reduce_ms(model, system, spread, own) / 1e3
    computing_s = dense_s + experts_s + sent.total_ms / 1e3 + reduce_s
    if hit_rate is None:
        hit_rate = lru_hit_rate(asked.asked, placement.resident_share * placement.experts_a_gpu)
    if placement.fits:
        hit_rate = 1.0
    missed = asked.distinct * (1 - hit_rate) * expert_bytes
    moved: Transfer = transfer(missed, computing_s, gpu.host_bytes_per_s, predictor)
    layers = model.layers
    return Step(
        dense_ms=1e3 * layers * dense_s,
        experts_ms=1e3 * layers * experts_s,
        exchange_ms=layers * sent.total_ms,
        reduce_ms=1e3 * layers * reduce_s,
        waiting_ms=1e3 * layers * moved.waited_s,
        sent_bytes=layers * sent.sent_bytes,
        fetched_bytes=layers * (moved.demanded_bytes + moved.prefetched_bytes),
        wrong_bytes=layers * moved.wrong_bytes,
        hit_rate=hit_rate,
        distinct_experts=asked.distinct,
        dropped=asked.dropped,
        tokens=tokens_per_gpu * spread.gpus,
    )


@lru_cache(maxsize=1024)
def _exchange(model: MoeModel, system: System, spread: Spread, tokens: int, imbalance: float) -> Exchange:
    """The slowest group's; GPUs of a replica stand together, those that share a layer nearest."""
    groups = [
        [(replica * spread.expert + rank) * spread.tensor + part for rank in range(spread.expert)]
        for replica in range(spread.replicas)
        for part in range(spread.tensor)
    ]
    times = [
        exchange(
            system,
            group,
            tokens,
            hidden=model.hidden,
            top_k=model.top_k,
            experts=model.experts,
            others=_without(groups, place),
            imbalance=imbalance,
        )
        for place, group in enumerate(groups)
    ]
    slowest = max(times, key=lambda found: found.total_ms)
    # Each of the GPUs that share a layer sends its part of the elements.
    return Exchange(
        slowest.dispatch_ms / spread.tensor,
        slowest.combine_ms / spread.tensor,
        slowest.sent_bytes / spread.tensor,
        slowest.kernel,
    )


def _reduce_ms(model: MoeModel, system: System, spread: Spread, tokens: int) -> float:
    """Two all-reduces a layer among GPUs that share it: after attention, after the experts."""
    if spread.tensor == 1:
        return 0.0
    count = spread.replicas * spread.expert
    groups = [[first * spread.tensor + part for part in range(spread.tensor)] for first in range(count)]
    size = tokens * model.hidden * ACTIVATION_BYTES
    times = [
        collective("all_reduce", system, group, size, _without(groups, place)).latency_ms
        for place, group in enumerate(groups)
    ]
    return 2 * max(times)


def _without(groups: Sequence[Sequence[int]], place: int) -> list[Sequence[int]]:
    return [group for other, group in enumerate(groups) if other != place]
