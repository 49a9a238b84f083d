"""One decoding step of a mixture of experts on several GPUs: computation, communication, waiting for experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tilecast.graph.routing import Routing
from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.moe.exchange import Exchange, exchange
from tilecast.moe.model import ACTIVATION_BYTES, MoeModel
from tilecast.moe.offload import Predictor, lru_hit_rate, waiting_s
from tilecast.moe.placement import Placement, Spread
from tilecast.moe.routing import demand
from tilecast.multigpu.collectives import collective

Group = list[int]  # GPUs by number


@dataclass(frozen=True)
class Gpu:
    """Memory and rates of a GPU that a kernel can count on."""

    memory_bytes: float
    flops_per_s: float
    bandwidth_bytes_per_s: float
    host_bytes_per_s: float


@dataclass(frozen=True)
class Shares:
    """Shares of the peak rates that kernels reach: matrix units, device memory, link to the host."""

    matrix: float
    memory: float
    host: float


def gpu_of(device: Device, shares: Shares) -> Gpu:
    """The rates of a described device in bf16; its PCIe link leads to the host."""
    host = sum(link.bytes_per_s for link in device.links if link.kind.startswith("pcie"))
    return Gpu(
        device.memory_bytes,
        device.peak_flops_per_s("bf16", matrix=True) * shares.matrix,
        device.bandwidth_bytes_per_s * shares.memory,
        host * shares.host,
    )


@dataclass(frozen=True)
class Step:
    """Times of one decoding step in milliseconds; bytes are those of one GPU."""

    dense_ms: float  # attention and everything outside the experts
    experts_ms: float
    exchange_ms: float  # dispatch and combine
    reduce_ms: float  # all-reduces of tensor parallelism
    waiting_ms: float  # for experts from the host
    sent_bytes: float
    hit_rate: float
    tokens: int  # of all GPUs

    @property
    def communication_ms(self) -> float:
        """Time of communication between GPUs."""
        return self.exchange_ms + self.reduce_ms

    @property
    def total_ms(self) -> float:
        """Time of the whole step."""
        return self.dense_ms + self.experts_ms + self.communication_ms + self.waiting_ms

    @property
    def tokens_per_s(self) -> float:
        """Throughput of all GPUs."""
        return self.tokens / self.total_ms * 1e3


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
    """One step in which each GPU decodes `tokens_per_gpu` tokens; without `hit_rate`, that of an LRU cache.

    The busiest GPU sets the pace. Nothing overlaps, except that prefetching overlaps with everything but waiting.
    """
    own = tokens_per_gpu * spread.tensor  # tokens of one expert rank, whose GPUs share each layer
    asked = demand(model.experts, model.top_k, spread.expert, own * spread.expert, routing)
    expert_bytes = model.expert_bytes / spread.tensor
    matrix_s = 2 * model.expert_parameters * asked.assigned / spread.tensor / gpu.flops_per_s
    experts_s = max(matrix_s, asked.distinct * expert_bytes / gpu.bandwidth_bytes_per_s)

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
    layers = model.layers
    return Step(
        dense_ms=1e3 * layers * dense_s,
        experts_ms=1e3 * layers * experts_s,
        exchange_ms=layers * sent.total_ms,
        reduce_ms=1e3 * layers * reduce_s,
        waiting_ms=1e3 * layers * waiting_s(missed, computing_s, gpu.host_bytes_per_s, predictor),
        sent_bytes=layers * sent.sent_bytes,
        hit_rate=hit_rate,
        tokens=tokens_per_gpu * spread.gpus,
    )


@lru_cache(maxsize=1024)
def _exchange(model: MoeModel, system: System, spread: Spread, tokens: int, imbalance: float) -> Exchange:
    """The slowest group's exchange; GPUs of a replica stand together, those that share a layer nearest."""
    groups = [
        [(replica * spread.expert + rank) * spread.tensor + part for rank in range(spread.expert)]
        for replica in range(spread.replicas)
        for part in range(spread.tensor)
    ]
    found = [
        exchange(
            system,
            group,
            tokens,
            hidden=model.hidden,
            top_k=model.top_k,
            experts=model.experts,
            others=others,
            imbalance=imbalance,
        )
        for group, others in _with_others(groups)
    ]
    slowest = max(found, key=lambda one: one.total_ms)
    # Each of the GPUs that share a layer sends its part of the elements.
    parts = spread.tensor
    return Exchange(slowest.dispatch_ms / parts, slowest.combine_ms / parts, slowest.sent_bytes / parts)


def _reduce_ms(model: MoeModel, system: System, spread: Spread, tokens: int) -> float:
    """Two all-reduces a layer among the GPUs that share it: after attention, and after the experts."""
    if spread.tensor == 1:
        return 0.0
    groups = [list(range(first, first + spread.tensor)) for first in range(0, spread.gpus, spread.tensor)]
    size = tokens * model.hidden * ACTIVATION_BYTES
    return 2 * max(
        collective("all_reduce", system, group, size, others).latency_ms for group, others in _with_others(groups)
    )


def _with_others(groups: list[Group]) -> Iterator[tuple[Group, list[Group]]]:
    """Each group beside the groups that communicate at the same time."""
    for place, group in enumerate(groups):
        yield group, groups[:place] + groups[place + 1 :]
