"""A decoding step of a mixture of experts: multigpu's step, its exchange, waiting for experts from the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from tilecast.base.errors import InputError
from tilecast.graph.routing import Routing
from tilecast.graph.source import kernel_graph
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.hardware.system import System
from tilecast.models.architecture import equal_layers
from tilecast.models.registry import ModelSpec
from tilecast.models.workload import Workload
from tilecast.moe.exchange import Exchange, exchange
from tilecast.moe.model import MoeModel, moe_model
from tilecast.moe.offload import ON_DEMAND, HostLink, Outcome, Predictor, play
from tilecast.moe.stream import Stream, distinct, from_file, imbalance, synthetic
from tilecast.multigpu.layout import STANDARD, Layout, legal
from tilecast.multigpu.memory import layer_parameters
from tilecast.multigpu.step import StepForecaster, sized
from tilecast.predict.kernel import HostAware
from tilecast.predict.kernel import Predictor as KernelPredictor
from tilecast.predict.model import forecast_model

RESIDENT, OFFLOADED, IMPOSSIBLE = "resident", "offloaded", "impossible"
# Layers and requests of a stream that are played: enough that two seeds differ by a few percent.
PLAYED_LAYERS, REQUESTS, LEAST_STEPS, MOST_STEPS = 12, 4000, 18, 60
# Host operations for each expert that no token takes, in a reference implementation that loops over all: mask it,
# find its tokens (which waits for the GPU), gather none (transformers 4.36 to 4.56, Mixtral's and Qwen3's blocks).
LOOP_OPERATIONS = 5


@dataclass(frozen=True)
class Serving:
    """How tokens are routed, and how a serving system keeps and fetches experts."""

    routing: Routing = field(default_factory=Routing)
    reuse: float = 0.0  # chance that a token's expert is used by its sequence's next token
    trace: str | None = None  # a file of routed tokens, in place of a made stream
    seed: int = 0
    policy: str = "lru"
    cache_share: float | None = None  # of the GPU's memory, for experts; None: all that is free
    predictor: Predictor = ON_DEMAND
    whole_layers: bool = False  # every expert of a layer crosses, needed or not
    pinned: bool = True
    piece_bytes: float | None = None  # None: each matrix of an expert is a copy of its own
    loop: bool = False  # the host visits every expert of a layer, needed or not
    host_bytes: float = 1e15  # for experts of one GPU


@dataclass(frozen=True)
class Rates:
    """What a link to the host delivers: of pinned memory a share of its peak, of pageable memory a rate."""

    pinned_share: float
    pageable_bytes_per_s: float
    pinned_bytes_per_s: float | None = None  # in place of the share


@dataclass(frozen=True)
class Placement:
    """Whether a GPU can hold its experts, why, and the share of them that stays."""

    verdict: str
    reason: str
    resident_share: float = 0.0


@dataclass(frozen=True)
class Step:
    """Times of one decoding step in milliseconds; bytes are those of one GPU."""

    computing_ms: float  # kernels, and the host that launches them
    exchange_ms: float  # dispatch and combine
    reduce_ms: float  # tensor and pipeline parallelism
    looping_ms: float  # the host's visits to experts that no token takes
    waiting_ms: float  # for experts from the host
    reach: tuple[float, float]  # low and high end of all but waiting, as shares of it
    sent_bytes: float
    fetched_bytes: float  # from host memory, of one GPU
    outcome: Outcome | None  # None where every expert is resident
    imbalance: float
    dropped: float
    tokens: int  # of all GPUs

    @property
    def communication_ms(self) -> float:
        """Time of communication between GPUs."""
        return self.exchange_ms + self.reduce_ms

    @property
    def running_ms(self) -> float:
        """Time without waiting for experts."""
        return self.computing_ms + self.communication_ms + self.looping_ms

    @property
    def total_ms(self) -> float:
        """Time of the whole step."""
        return self.running_ms + self.waiting_ms

    @property
    def tokens_per_s(self) -> float:
        """Throughput of all GPUs."""
        return self.tokens / self.total_ms * 1e3

    @property
    def hit_rate(self) -> float:
        """Share of the needed experts that were there when their layer asked."""
        return 1.0 if self.outcome is None else self.outcome.hit_rate


def spread(replicas: int, expert: int, tensor: int = 1, stages: int = 1) -> Layout:
    """Replicas of a model, GPUs that divide a replica's experts, GPUs that share a layer, pipeline stages."""
    return Layout(dp=replicas * expert, ep=expert, tp=tensor, pp=stages)


def spreads(gpus: int) -> Iterator[Layout]:
    """Every product of replicas, expert and tensor parallelism with this number of GPUs."""
    for tensor in range(1, gpus + 1):
        for expert in range(1, gpus // tensor + 1):
            if gpus % (tensor * expert) == 0:
                yield spread(gpus // (tensor * expert), expert, tensor)


def named(layout: Layout) -> str:
    """The layout as the study's tables name it: `DP4 x EP2`."""
    parts = (("DP", layout.dp // layout.ep), ("EP", layout.ep), ("TP", layout.tp), ("PP", layout.pp))
    return " x ".join(f"{name}{size}" for name, size in parts if size > 1) or "one GPU"


class Decoder:
    """Decoding steps of one model on one system: kernels are forecast once."""

    def __init__(
        self,
        spec: ModelSpec,
        device: Device,
        system: System,
        predictor: KernelPredictor,
        rates: Rates,
        *,
        context: int,
        compiled: bool,
    ) -> None:
        self.model: MoeModel = moe_model(spec)
        self.spec, self.device, self.system, self.predictor, self.rates = spec, device, system, predictor, rates
        self._alone: tuple[float, float, float] | None = None
        self.step = lru_cache(maxsize=512)(self._step)
        try:
            equal_layers(spec)
        except InputError:  # an encoder beside the decoder: one GPU, and one sequence, alone
            self._forecaster = None
            graph = kernel_graph(spec, mode="inference", phase="decode", context=context, dtype="bf16")
            found = forecast_model(graph, predictor, device)
            low, high = found["low_ms"] or found["latency_ms"], found["high_ms"] or found["latency_ms"]
            self._alone = (found["latency_ms"], low, high)
        else:
            work = Workload(spec, 1, 1, "inference", "decode", context, "bf16", "eager", None, compiled)
            self._forecaster = StepForecaster(work, system, device, predictor)
        ops = np.array(["copy"])
        self.host_s = (
            float(predictor.issue_ms(ops, "forward")[0]) / 1e3 if isinstance(predictor, HostAware) else 0.0
        )

    def place(self, layout: Layout, tokens_per_gpu: int, serving: Serving) -> Placement:
        """Whether each GPU holds its experts beside all that multigpu's memory counts, and how many stay."""
        model, layout = self.model, _filled(layout, tokens_per_gpu)
        if model.expert_bytes / layout.tp > self.device.memory_bytes:
            problem = f"one expert is {_gb(model.expert_bytes)}, a GPU has {_gb(self.device.memory_bytes)}"
            raise InputError(model.title, problem, "take a larger GPU")
        own = model.all_expert_bytes / (layout.ep * layout.tp * layout.pp)
        waste = 1 + STANDARD.fragmentation
        other = model.dense_bytes * waste + STANDARD.context_bytes
        if self._forecaster is not None:
            forecaster = sized(self._forecaster, tokens_per_gpu * layout.gpus)
            if reason := legal(layout, forecaster.model, None, forecaster.work.batch_size):
                return Placement(IMPOSSIBLE, reason)
            weights = layer_parameters(forecaster.model, layout.tp, layout.ep)[1] * ELEMENT_BYTES["bf16"]
            held = forecaster.memory(layout).total_bytes
            other = held - waste * weights * max(layout.pieces(forecaster.model.layers))
        capacity = self.device.memory_bytes
        free = (capacity - other) / waste
        if serving.cache_share is not None:
            free = min(free, serving.cache_share * capacity)
        share = min(max(free / own, 0.0), 1.0)
        needs = f"needs {_gb(own * waste + other)} a GPU, which has {_gb(capacity)}"
        if share >= 1:
            return Placement(RESIDENT, f"fits: {needs}", 1.0)
        if free < model.stored_layers / layout.pp * model.expert_bytes / layout.tp:
            return Placement(IMPOSSIBLE, f"{needs}, and has no room for one expert of each layer beside the rest")
        if own * (1 - share) > serving.host_bytes:
            return Placement(IMPOSSIBLE, f"{needs}, and the host has {_gb(serving.host_bytes)} a GPU for the rest")
        reason = f"does not fit: {needs}; {share:.0%} of its experts stay, the rest come over PCIe"
        return Placement(OFFLOADED, reason, share)

    def _step(self, layout: Layout, tokens_per_gpu: int, serving: Serving, resident_share: float) -> Step:
        """One step in which each GPU decodes `tokens_per_gpu` tokens and keeps a share of its experts."""
        model, layout = self.model, _filled(layout, tokens_per_gpu)
        ranks, own = layout.ep, layout.microbatch
        stream = self.stream(serving, own * ranks)
        unevenness, dropped = imbalance(stream, ranks, model.experts, serving.routing.capacity)
        latency, low, high, kernels_ms, reduce_ms = self._computed(layout, tokens_per_gpu)
        used = distinct(stream, ranks, model.experts)
        read = used * model.expert_bytes
        part = read / (read + model.dense_bytes / model.stored_layers)  # of a layer's time: by the bytes it reads
        kernels_ms *= 1 + part * (unevenness - 1)
        loops = (model.experts / ranks - used) * LOOP_OPERATIONS * self.host_s if serving.loop else 0.0
        sent = _exchange(model, self.system, layout, own, unevenness)
        layers = model.layers
        outcome = None
        if resident_share < 1:
            layer_s = kernels_ms / 1e3 / layers
            between_s = sent.total_ms / 1e3 + reduce_ms / 1e3 / layers + loops
            played = stream.shape[1]
            outcome = play(
                stream,
                experts=model.experts,
                ranks=ranks,
                slots=resident_share * played * model.experts / ranks,
                policy=serving.policy,
                predictor=serving.predictor,
                link=self.host_link(layout, serving),
                expert_bytes=model.expert_bytes / layout.tp,
                dense_s=layer_s * (1 - part) + between_s,
                experts_s=layer_s * part,
                whole_layers=serving.whole_layers,
                seed=serving.seed,
            )
        fetched = 0.0 if outcome is None else outcome.fetched / ranks * layers * model.expert_bytes / layout.tp
        return Step(
            computing_ms=kernels_ms,
            exchange_ms=layers * sent.total_ms,
            reduce_ms=reduce_ms,
            looping_ms=1e3 * layers * loops,
            waiting_ms=0.0 if outcome is None else 1e3 * layers * outcome.waiting_s,
            reach=(low / latency, high / latency),
            sent_bytes=layers * sent.sent_bytes,
            fetched_bytes=fetched,
            outcome=outcome,
            imbalance=unevenness,
            dropped=dropped,
            tokens=tokens_per_gpu * layout.gpus,
        )

    def stream(self, serving: Serving, sequences: int) -> Stream:
        """The tokens of one replica: of the trace, or made."""
        model = self.model
        if serving.trace is not None:
            return from_file(Path(serving.trace), model.experts, model.top_k, sequences)
        asked = model.experts * (1 - (1 - model.top_k / model.experts) ** sequences)
        layers = min(PLAYED_LAYERS, model.layers)
        return _made(
            model.experts, model.top_k, layers, sequences,
            int(np.clip(REQUESTS / (layers * asked), LEAST_STEPS, MOST_STEPS)),
            serving.routing.exponent, serving.reuse, serving.seed,
        )  # fmt: skip

    def host_link(self, layout: Layout, serving: Serving) -> HostLink:
        """One GPU's link to the host; a copy takes the host as long to start as any operation."""
        rates = self.rates
        pcie = sum(link.bytes_per_s for link in self.device.links if link.kind.startswith("pcie"))
        pinned = rates.pinned_share * pcie if rates.pinned_bytes_per_s is None else rates.pinned_bytes_per_s
        rate = pinned if serving.pinned else min(pinned, rates.pageable_bytes_per_s)
        piece = serving.piece_bytes or self.model.expert_bytes / layout.tp / self.model.matrices
        return HostLink(rate, self.host_s, piece)

    def _computed(self, layout: Layout, tokens_per_gpu: int) -> tuple[float, float, float, float, float]:
        """Milliseconds of multigpu's step: forecast, low, high; of these kernels with their host, and messages."""
        if self._alone is not None:
            return (*self._alone, self._alone[0], 0.0)
        assert self._forecaster is not None
        found = sized(self._forecaster, tokens_per_gpu * layout.gpus).step(layout)
        reduced = sum(found.parts[name] for name in ("tp", "pp", "bubble"))
        return (
            found.latency_ms, found.low_ms, found.high_ms,
            found.latency_ms - found.parts["ep"] - reduced, reduced,
        )  # fmt: skip


_made = lru_cache(maxsize=64)(
    lambda experts, top_k, layers, sequences, steps, exponent, reuse, seed: synthetic(
        experts, top_k, layers=layers, sequences=sequences, steps=steps, exponent=exponent, reuse=reuse, seed=seed
    )
)


def _filled(layout: Layout, tokens_per_gpu: int) -> Layout:
    """The layout with all tokens of its replica in one microbatch."""
    return replace(layout, microbatch=tokens_per_gpu * layout.tp * layout.pp)


@lru_cache(maxsize=1024)
def _exchange(model: MoeModel, system: System, layout: Layout, tokens: int, unevenness: float) -> Exchange:
    """The slowest group's exchange; GPUs of a replica stand together, those that share a layer nearest."""
    tensor, expert, block = layout.tp, layout.ep, layout.tp * layout.ep
    groups = [
        list(range(first + part, first + block, tensor))
        for first in range(0, layout.gpus, block)
        for part in range(tensor)
    ]
    found = [
        exchange(
            system, group, tokens, hidden=model.hidden, top_k=model.top_k, experts=model.experts,
            others=[other for other in groups if other is not group], imbalance=unevenness,
        )
        for group in groups
    ]  # fmt: skip
    slowest = max(found, key=lambda one: one.total_ms) if expert > 1 else found[0]
    # Each of the GPUs that share a layer sends its part of the elements.
    return Exchange(slowest.dispatch_ms / tensor, slowest.combine_ms / tensor, slowest.sent_bytes / tensor)


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def pair(
    decoder: Decoder, layout: Layout, tokens: int, serving: Serving
) -> tuple[Placement, Step | None, Step | None]:
    """Placement, and a step on demand and one with the predictor; None where the placement is impossible."""
    placement = decoder.place(layout, tokens, serving)
    if placement.verdict == IMPOSSIBLE:
        return placement, None, None
    base, prophet = (
        decoder.step(layout, tokens, replace(serving, predictor=one), placement.resident_share)
        for one in (ON_DEMAND, serving.predictor)
    )
    return placement, base, prophet
