"""A serving benchmark replayed pass by pass: a closed loop of requests against a server that batches continuously.

As a request ends, its client sends the next. A pass holds one token of every request that decodes and as many
tokens of waiting prompts as the server's budget allows, in order of arrival. Requests of equal length stay in the
groups they were first served in, so each group waits for the pass of the one before; a queueing formula for mean
values misses that.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

REPLAYED = 3  # rounds replayed; those after the first stand for all but the first


@dataclass(frozen=True)
class Load:
    """What a client sends: requests in flight, lengths in tokens, and how many requests for each in flight."""

    concurrency: int
    prompt: float
    output: float
    shortest: float = 1.0  # lengths are drawn evenly between this share and all of them
    rounds: int = 10

    @property
    def mean(self) -> float:
        """Mean length, as a share of the longest."""
        return (1 + self.shortest) / 2


@dataclass(frozen=True)
class Batching:
    """How a framework fills a pass."""

    budget: float  # tokens
    chunked: bool = False  # a prompt may be split over passes
    alone: bool = False  # prompts are served first, in passes of their own
    late: int = 2  # passes after a request's last one until its client's next can join
    wait_passes: int = 0  # passes without a prompt that prompts wait at most,
    wait_share: float = 0.0  # until they fill this share of the budget


class MeanTimes(NamedTuple):
    """Mean times of a run."""

    ttft_ms: float
    tpot_ms: float


def recipe(point: Mapping[str, Any]) -> tuple[Load, Batching]:
    """Client and server of a measured serving point, as far as the two campaigns publish their scripts.

    The open sweep (SemiAnalysisAI/InferenceX, benchmarks/*.sh): lengths between 0.8 and 1 of the longest, token
    budgets as set there; its TensorRT-LLM holds prompts back where prompt and output are of 1,024 tokens.
    The publisher's own (ai-dynamo/aiconfigurator, eval/benchmarks and generator/rule_plugin): equal lengths,
    budget 512 + prompt + 1500. Both send ten requests for each in flight.
    SGLang by its documented defaults: prompts first, 8,192 tokens a pass.
    """
    # ASSUME: the publisher deployed by the rules it publishes; which version of them its points had is not stated.
    # ASSUME: the open sweep's longest sequence on H200 is prompt + output + 200; gpt-oss's budget there is B200's.
    # ASSUME: measured times are means over a run; the sample file does not say.
    # ASSUME: a server that overlaps host and GPU has two passes under way when a client answers, any other one.
    sweep, framework = bool(point["sweep"]), str(point["framework"])
    prompt, output = float(point["prompt"]), float(point["output"])
    load = Load(int(point["concurrency"]), prompt, output, 0.8 if sweep else 1.0)
    if framework == "sglang":
        return load, Batching(8192, chunked=True, alone=True, late=3)
    if not sweep:
        batching = Batching(512 + prompt + 1500)
        return load, replace(batching, late=3) if framework == "trtllm" else replace(batching, chunked=True)
    if framework == "vllm":
        return load, Batching(8192, chunked=True, late=3)
    if "gpt-oss" in str(point["model"]):
        return load, Batching(20000, late=3)
    budget = prompt + output + 200 if point["device"] == "NVIDIA_H200" else 16384.0
    held = prompt == output == 1024 and point["tp"] < 8
    return load, Batching(budget, late=3, wait_passes=20 if held else 0, wait_share=0.9)


def replay(
    load: Load, batching: Batching, step_ms: Callable[[int], float], mixed_ms: Callable[[float, int], float]
) -> MeanTimes:
    """Mean time to first token and per output token of a run.

    `step_ms(requests)` is a pass that only decodes, `mixed_ms(prompt tokens, requests)` one that prefills as well.
    """
    total, burst = load.concurrency * min(REPLAYED, load.rounds), load.concurrency
    draws = np.random.default_rng(0).uniform(load.shortest, 1, (total, 2))
    left = np.maximum(np.rint(draws[:, 0] * load.prompt), 1).tolist()
    outputs = np.maximum(np.rint(draws[:, 1] * load.output), 2).astype(int).tolist()
    sent_at, first, last = [0.0] * total, [0.0] * total, [0.0] * total
    waiting: deque[tuple[int, int]] = deque((0, i) for i in range(burst))  # pass it may join, request
    running: list[tuple[int, int]] = []  # decoding pass after which it ends, request
    now, passed, decoded, held, sent = 0.0, 0, 0, 0, burst
    while running or waiting:
        n, taken, done = len(running), 0.0, []
        ready = bool(waiting) and waiting[0][0] <= passed
        if ready and running and held < batching.wait_passes:
            tokens = sum(left[i] for joins, i in waiting if joins <= passed)
            ready = tokens >= batching.wait_share * batching.budget
            held += not ready
        if ready:
            held, room = 0, batching.budget - (0 if batching.alone else n)
            while waiting and waiting[0][0] <= passed:
                i = waiting[0][1]
                if left[i] > room and (taken or batching.chunked):
                    part = max(room, 0.0) if batching.chunked else 0.0
                    left[i], taken = left[i] - part, taken + part
                    break
                room, taken, left[i] = room - left[i], taken + left[i], 0
                done.append(i)
                waiting.popleft()
        if taken:
            now += mixed_ms(taken, 0 if batching.alone else n)
            passed, decoded = passed + 1, decoded + (not batching.alone)
        else:  # nothing but decoding until one ends or one may join
            ends = running[0][0] - decoded if running else 1
            ahead = max(min(ends, waiting[0][0] - passed if waiting else ends), 1)
            now += ahead * step_ms(n) if n else 0.0
            passed, decoded = passed + ahead, decoded + ahead
        for i in done:
            first[i] = now
            heapq.heappush(running, (decoded + outputs[i] - 1, i))
        while running and running[0][0] <= decoded:
            last[heapq.heappop(running)[1]] = now
            if sent < total:
                sent_at[sent] = now
                waiting.append((passed + batching.late - 1, sent))
                sent += 1
    share = 1 / load.rounds if total > burst else 1.0
    began, ended = np.array(first), np.array(last)
    means = (began - np.array(sent_at), (ended - began) / (np.array(outputs) - 1))
    return MeanTimes(
        *(float(share * x[:burst].mean() + (1 - share) * x[-(total - burst) :].mean()) for x in means)
    )
