"""Experts in host memory: what a cache keeps, what a predictor fetches ahead, and how long each layer waits.

A stream of tokens is played through every rank's cache and its one link to the host. The hit rate is an outcome.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

import numpy as np

from tilecast.moe.stream import Stream

POLICIES = ("lru", "lfu", "static", "layer-wise")
Key = tuple[int, int]  # layer, expert
Worth = tuple[int, int]  # uses, and when the last was


@dataclass(frozen=True)
class Predictor:
    """Share of the needed experts that are named ahead, share of the named that are needed, and how far ahead."""

    recall: float
    precision: float
    lookahead_layers: int = 1


ON_DEMAND = Predictor(recall=0.0, precision=1.0)


@dataclass(frozen=True)
class HostLink:
    """One GPU's link to host memory: an expert crosses in pieces, each of which takes time to start."""

    bytes_per_s: float
    piece_s: float = 0.0  # to start a piece
    piece_bytes: float = float("inf")

    def pieces(self, size: float) -> tuple[int, float]:
        """Pieces of an expert of `size` bytes, and the seconds each takes."""
        count = max(1, ceil(size / self.piece_bytes - 1e-9))
        return count, size / count / self.bytes_per_s + self.piece_s


@dataclass(frozen=True)
class Outcome:
    """Means over a layer of a step; experts are those of the slowest GPU's share, hit rates of all."""

    waiting_s: float
    hit_rate: float  # of the experts needed, those there when the layer asked
    cached_rate: float  # those there without having been fetched for it
    fetched: float  # experts that crossed a link, of all ranks
    wasted: float  # of these, not needed in the layer they were fetched for


class Cache:
    """Experts that stay on one GPU: `slots` of all layers together, or an equal part for each (`layer-wise`).

    `lru` drops what was used longest ago, `lfu` what was used least often; `static` keeps what it began with.
    """

    def __init__(self, policy: str, slots: int, layers: int, first: Iterable[Key]) -> None:
        self.policy, self._tick = policy, 0
        self._groups = layers if policy == "layer-wise" else 1
        self._room = [slots // self._groups + (group < slots % self._groups) for group in range(self._groups)]
        self._count: Counter[Key] = Counter()
        self._kept: list[dict[Key, Worth]] = [{} for _ in range(self._groups)]  # what was used last stands last
        self._heap: list[tuple[Worth, Key]] = []
        for key in first:
            group = key[0] % self._groups
            if len(self._kept[group]) < self._room[group]:
                self._place(key, group)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept[key[0] % self._groups]

    def use(self, key: Key) -> None:
        """The expert was computed: it stays, or takes the place of another."""
        self._count[key] += 1
        self.add(key)

    def add(self, key: Key) -> None:
        """The expert has arrived: it takes the place of another where there is none left."""
        group = key[0] % self._groups
        kept, room = self._kept[group], self._room[group]
        if self.policy == "static" or not room:
            return
        kept.pop(key, None)
        if len(kept) >= room:
            del kept[self._least() if self.policy == "lfu" else next(iter(kept))]
        self._place(key, group)

    def _place(self, key: Key, group: int) -> None:
        self._tick += 1
        self._kept[group][key] = worth = (self._count[key], self._tick)
        if self.policy == "lfu":
            heapq.heappush(self._heap, (worth, key))

    def _least(self) -> Key:
        """What was used least often, of these longest ago; what the heap holds of earlier uses is passed over."""
        while True:
            worth, key = heapq.heappop(self._heap)
            if self._kept[0].get(key) == worth:
                return key


class _Rank:
    """One GPU: its cache, its link, what is on its way and what has arrived ahead."""

    def __init__(self, cache: Cache, pieces: tuple[int, float]) -> None:
        self.cache, (self.pieces, self.piece_s) = cache, pieces
        self.free = 0.0  # when the link is
        self.queue: dict[Key, int] = {}  # expert named ahead -> pieces left, in order
        self.ready: dict[Key, float] = {}  # arrived ahead of its layer -> when
        self.fetched = 0.0

    def until(self, now: float) -> None:
        """Fetch ahead until `now`; a piece that has begun is finished."""
        while self.queue and self.free < now:
            key = next(iter(self.queue))
            done = min(self.queue[key], max(1, ceil((now - self.free) / self.piece_s - 1e-9)))
            self.free += done * self.piece_s
            self.queue[key] -= done
            if not self.queue[key]:
                del self.queue[key]
                self.ready[key] = self.free
                self.fetched += 1

    def demand(self, key: Key, now: float) -> float:
        """When an expert that is asked for now arrives: before anything fetched ahead."""
        left = self.queue.pop(key, self.pieces)
        self.free = max(self.free, now) + left * self.piece_s
        self.fetched += 1
        return self.free

    def name(self, keys: Iterable[Key], now: float) -> None:
        """A predictor names experts: those not at hand queue for the link."""
        if not self.queue:
            self.free = max(self.free, now)
        for key in keys:
            if key not in self.cache and key not in self.ready:
                self.queue.setdefault(key, self.pieces)

    def passed(self, layer: int, wanted: list[int]) -> int:
        """A layer is over: what arrived for it joins the cache, the rest is given up; how many nobody needed."""
        for key in [key for key in self.queue if key[0] == layer]:
            del self.queue[key]
        arrived = [key for key in self.ready if key[0] == layer]
        for key in arrived:
            del self.ready[key]
            self.cache.add(key)
        return sum(key[1] not in wanted for key in arrived)


def play(
    stream: Stream,
    *,
    experts: int,
    ranks: int,
    slots: float,
    policy: str,
    predictor: Predictor,
    link: HostLink,
    expert_bytes: float,
    dense_s: float,
    experts_s: float,
    whole_layers: bool = False,
    seed: int = 0,
) -> Outcome:
    """Play a stream through the GPUs of one replica; expert e lies on rank e modulo `ranks`.

    A layer computes `dense_s`, routes, and computes its experts in the order in which they are there (`experts_s`
    in all); every rank waits for the slowest. As a layer routes, the predictor names experts of a later one, which
    cross the link behind what is asked for. `slots`: experts of all layers of the stream that stay on one GPU.
    `whole_layers`: every expert of a layer is fetched, needed or not. The first third warms the caches up.
    """
    random = np.random.default_rng(seed)
    steps, layers = stream.shape[:2]
    own = [np.arange(rank, experts, ranks) for rank in range(ranks)]
    gpus = [
        _Rank(_begun(policy, int(slots), layers, stream, mine, random), link.pieces(expert_bytes)) for mine in own
    ]
    needed = [
        [[[e for e in used if e % ranks == rank] for rank in range(ranks)] for used in map(sorted, map(set, row))]
        for row in stream.reshape(steps, layers, -1).tolist()
    ]
    order = [(step, layer) for step in range(steps) for layer in range(layers)]
    first = steps // 3 * layers
    now = waited = 0.0
    asked = hits = cached = wasted = 0
    carried = [0.0] * ranks  # wrong names owed, in parts of an expert
    for place, (step, layer) in enumerate(order):
        if place == first:
            waited, asked, hits, cached, wasted = 0.0, 0, 0, 0, 0
            for gpu in gpus:
                gpu.fetched = 0.0
        now += dense_s
        target = place + predictor.lookahead_layers
        ends = []
        for rank, gpu in enumerate(gpus):
            gpu.until(now)
            wanted = needed[step][layer][rank]
            arrivals = []
            for expert in own[rank].tolist() if whole_layers else wanted:
                key = (layer, expert)
                if key in gpu.cache:
                    cached, hits = cached + 1, hits + 1
                    arrivals.append(now)
                elif key in gpu.ready and gpu.ready[key] <= now:
                    hits += 1
                    arrivals.append(now)
                elif key in gpu.ready:
                    arrivals.append(gpu.ready[key])
                else:
                    arrivals.append(gpu.demand(key, now))
            asked += len(arrivals)
            if predictor.recall and target < len(order):
                ahead = order[target]
                coming = needed[ahead[0]][ahead[1]][rank]
                drawn = random.random(len(coming)).tolist()
                named = [e for e, chance in zip(coming, drawn, strict=True) if chance < predictor.recall]
                carried[rank] += len(named) * (1 / predictor.precision - 1)
                if wrong := int(carried[rank]):
                    carried[rank] -= wrong
                    named += random.choice(own[rank], min(wrong, len(own[rank])), replace=False).tolist()
                gpu.name(((ahead[1], e) for e in named), now)
            each, end = experts_s / max(len(arrivals), 1), now
            for arrival in sorted(arrivals):
                end = max(end, arrival) + each
            ends.append(max(end, now + experts_s))
            wasted += gpu.passed(layer, wanted)
            for expert in wanted:
                gpu.cache.use((layer, expert))
        waited += max(ends) - now - experts_s
        now = max(ends)
    played = len(order) - first
    fetched = sum(gpu.fetched for gpu in gpus) / played
    return Outcome(waited / played, hits / asked, cached / asked, fetched, wasted / played)


def _begun(
    policy: str, slots: int, layers: int, stream: Stream, own: np.ndarray, random: np.random.Generator
) -> Cache:
    """A full cache: `static` with the experts used most in the first third, the others with any."""
    keys = [(layer, int(expert)) for layer in range(layers) for expert in own]
    order = [keys[place] for place in random.permutation(len(keys))]
    if policy == "static":
        warm = stream[: max(1, len(stream) // 3)]
        counts = {layer: np.bincount(warm[:, layer].ravel(), minlength=own.max() + 1) for layer in range(layers)}
        order.sort(key=lambda key: -counts[key[0]][key[1]])
    return Cache(policy, slots, layers, order)
