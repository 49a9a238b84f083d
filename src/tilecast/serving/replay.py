"""Requests replayed pass by pass against servers that batch continuously.

A pass holds one token of every request that decodes and as many tokens of waiting prompts as the server's
budget allows, in order of arrival. In a closed loop a client sends its next request as one ends. Requests of
equal length stay in the groups they were first served in, so each group waits for the pass of the one before; a
queueing formula for mean values misses that.
"""

from __future__ import annotations

import heapq
import math
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.limits import MOST
from tilecast.serving.load import Requests


@dataclass(frozen=True)
class Batching:
    """How an engine fills a pass."""

    budget: float  # tokens
    chunked: bool = False  # a prompt may be split over passes
    alone: bool = False  # prompts are served first, in passes of their own
    late: int = 2  # passes after a request's last one until its client's next can join
    wait_passes: int = 0  # passes without a prompt that prompts wait at most,
    wait_share: float = 0.0  # until they fill this share of the budget
    sequences: float = math.inf  # requests at once
    reserves: bool = (
        True  # room for all of an answer is kept from the start; else the youngest is put off if need be
    )


class PassTimes(NamedTuple):
    """Milliseconds of a pass that only decodes, and of one that also prefills, by prompt tokens and requests."""

    step_ms: Callable[[int], float]
    mixed_ms: Callable[[float, int], float]


class Times(NamedTuple):
    """When each request was sent, when its first token came and when its last, in milliseconds."""

    sent: Array
    first: Array
    last: Array


class Server:
    """One server's passes. A request's cache takes `cache` bytes by its prompt's end and `token` more a token."""

    def __init__(
        self,
        batching: Batching,
        times: PassTimes,
        left: list[float],
        passes: list[int],
        cache: Sequence[float] | None = None,
        token: float = 0.0,
        room: float = math.inf,
    ) -> None:
        self.batching, self.times, self.room = batching, times, room
        self.left, self.passes = left, passes  # tokens to prefill, then decoding passes, of each request
        self.prompt = list(left)
        self.cache, self.token = list(cache) if cache is not None else [0.0] * len(left), token
        self.waiting: list[tuple[float, int, int]] = []  # when and in which pass it may join, request
        self.running: list[tuple[int, int]] = []  # decoding pass after which it ends, request
        self.begun: dict[int, float] = {}  # when requests were sent whose caches are held
        self.now, self.passed, self.decoded, self.held = 0.0, 0, 0, 0

    def submit(self, request: int, at_ms: float, late: int = 0) -> None:
        """A request that may join after `late` more passes, not before `at_ms`."""
        insort(self.waiting, (at_ms, self.passed + late, request))

    @property
    def next_ms(self) -> float:
        """When the next pass begins; infinity where there is nothing to do."""
        if self.running:
            return self.now
        return max(self.now, self.waiting[0][0]) if self.waiting else math.inf

    def advance(self, at_ms: float, horizon_ms: float = math.inf) -> tuple[list[int], list[int]]:
        """Run one pass, or decoding passes until something changes; requests that began and that ended."""
        self.now, running, n, alone = at_ms, self.running, len(self.running), self.batching.alone
        taken, done, full = self._admit(n)
        ahead = decoding = 0
        if taken:
            ahead, decoding = 1, int(not alone)
            self.now += self.times.mixed_ms(taken, decoding * n)
        elif n and not done:  # nothing but decoding until one ends or one may join
            step_ms = self.times.step_ms(n)
            ahead = decoding = self._passes_ahead(step_ms, horizon_ms, full)
            self.now += ahead * step_ms
        elif not done:  # the host alone: a client's next request is on its way
            ahead = max(self.waiting[0][1] - self.passed, 1)
        self.passed, self.decoded = self.passed + ahead, self.decoded + decoding
        if not self.batching.reserves:  # the tokens that all who decode have made take room
            self.room -= self.token * decoding * n
        for i in done:
            heapq.heappush(running, (self.decoded + self.passes[i], i))
        ended = []
        while running and running[0][0] <= self.decoded:
            _, i = heapq.heappop(running)
            ended.append(i)
            del self.begun[i]
            self.room += self.cache[i] + self.token * self.passes[i]
        self._put_off()
        return done, ended

    def _put_off(self) -> None:
        """Where the caches have outgrown their room, the last to come begins anew, all its tokens as a prompt."""
        while self.room < 0 and len(self.running) > 1:
            ends, i = max(self.running, key=lambda running: (self.begun[running[1]], running[1]))
            self.running.remove((ends, i))
            heapq.heapify(self.running)
            made = self.passes[i] - (ends - self.decoded)
            self.room += self.cache[i] + self.token * made
            self.left[i], self.passes[i] = self.prompt[i] + made, self.passes[i] - made
            self.cache[i] += self.token * made
            self.prompt[i] += made
            insort(self.waiting, (self.begun.pop(i), 0, i))

    def _passes_ahead(self, step_ms: float, horizon_ms: float, full: bool) -> int:
        ahead = self.running[0][0] - self.decoded
        if self.waiting and not full:
            at_ms, joins, _ = self.waiting[0]
            ahead = min(ahead, max(joins - self.passed, math.ceil((at_ms - self.now) / step_ms)))
        if horizon_ms < math.inf:
            ahead = min(ahead, math.ceil((horizon_ms - self.now) / step_ms))
        if not self.batching.reserves and self.token:
            ahead = min(ahead, int(self.room // (self.token * len(self.running))) + 1)
        return max(ahead, 1)

    def _ready(self, place: int = 0) -> bool:
        at_ms, joins, _ = self.waiting[place]
        return joins <= self.passed and at_ms <= self.now

    def _admit(self, n: int) -> tuple[float, list[int], bool]:
        """Prompt tokens of the next pass, the requests whose prompts end in it, and whether one has to wait
        until another ends."""
        batching, waiting, left, taken = self.batching, self.waiting, self.left, 0.0
        done: list[int] = []
        if not waiting or not self._ready():
            return taken, done, False
        if self.running and self.held < batching.wait_passes:
            tokens = sum(left[waiting[k][2]] for k in range(len(waiting)) if self._ready(k))
            if tokens < batching.wait_share * batching.budget:
                self.held += 1
                return taken, done, False
        self.held, room = 0, batching.budget - (0 if batching.alone else n)
        while waiting and self._ready():
            at_ms, _, i = waiting[0]
            if i not in self.begun:
                needed = self.cache[i] + (self.token * self.passes[i] if batching.reserves else 0.0)
                if needed > self.room or n + len(done) >= batching.sequences:
                    return taken, done, True
                if left[i] <= room or batching.chunked or not taken:
                    self.begun[i] = at_ms
                    self.room -= needed
            if left[i] > room and (taken or batching.chunked):
                part = max(room, 0.0) if batching.chunked else 0.0
                left[i], taken = left[i] - part, taken + part
                break
            room, taken, left[i] = room - left[i], taken + left[i], 0.0
            done.append(i)
            waiting.pop(0)
        return taken, done, False


def replay(
    requests: Requests,
    servers: Sequence[Server],
    clients: int = 0,
    decoders: Sequence[Server] = (),
    transfer_ms: Sequence[float] = (),
) -> Times:
    """When the requests were sent and answered; requests go to the servers in turn.

    Without arrival times `clients` send one request each, and the next as one is answered. With `decoders` the
    servers only prefill: a request's cache then takes `transfer_ms` to one of these, which makes its tokens.
    """
    import numpy as np

    total, every = len(requests.prompt), [*servers, *decoders]
    sent, first, last = [0.0] * total, [0.0] * total, [0.0] * total
    if requests.arrival_ms is not None:
        sent, clients = requests.arrival_ms.tolist(), total
    for i in range(clients):
        servers[i % len(servers)].submit(i, sent[i])
    following = clients
    for _ in range(MOST["steps"][0]):
        starts = [server.next_ms for server in every]
        if (at_ms := min(starts)) == math.inf:
            return Times(np.array(sent), np.array(first), np.array(last))
        place = starts.index(at_ms)
        server, starts[place] = every[place], math.inf
        began, ended = server.advance(at_ms, min(starts))
        if place < len(servers):
            for i in began:
                first[i] = first[i] or server.now  # not anew where one was put off
            if decoders:
                for i in ended:
                    decoders[i % len(decoders)].submit(i, server.now + transfer_ms[i])
                continue
        for i in ended:
            last[i] = server.now
            if following < total:
                sent[following] = server.now
                target = servers[following % len(servers)]
                target.submit(following, server.now, target.batching.late - 1)
                following += 1
    problem = f"take more than {MOST['steps'][0]:,} steps to replay"
    raise InputError("these requests", problem, "ask for fewer clients or shorter answers")
