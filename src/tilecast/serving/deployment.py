"""A model served on GPUs: what its passes cost, what its memory holds, and what clients of it see.

The measured serving points that the report evaluates, `tilecast serve` and the search all come through `served`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.hardware.device import Device
from tilecast.hardware.system import System
from tilecast.models.architecture import Architecture
from tilecast.multigpu.collectives import collective
from tilecast.multigpu.layout import STANDARD
from tilecast.multigpu.memory import end_parameters, layer_parameters
from tilecast.predict.formats import alone
from tilecast.predict.half_precision import HalfPrecision
from tilecast.predict.physics.chip import FORMATS
from tilecast.serving.load import Load, Requests
from tilecast.serving.passes import BF16, Formats, Pass, Passes, PassForecasts, Work
from tilecast.serving.replay import Batching, Server, Times, replay

MEMORY_SHARE = 0.9  # of a GPU's memory that an engine takes: vLLM's default (gpu_memory_utilization)
MOST_AT_ONCE = 1024  # requests of one server that an open loop's passes are forecast for


@dataclass(frozen=True)
class Draft:
    """Speculative decoding: tokens drafted a pass, how likely one is accepted, and the model that drafts them."""

    tokens: int
    acceptance: float
    model: Architecture | None = None  # None: drafts cost nothing (looked up in the prompt, say)

    @property
    def per_pass(self) -> float:
        """Mean tokens a pass makes: drafts up to the first that is not accepted, and one more.

        (1 - a^(k + 1)) / (1 - a), Leviathan et al., arXiv 2211.17192, equation 1.
        """
        if self.acceptance == 1:
            return self.tokens + 1.0
        return (1 - self.acceptance ** (self.tokens + 1)) / (1 - self.acceptance)


@dataclass(frozen=True)
class Pool:
    """GPUs of one server, and how many such servers there are."""

    tp: int = 1
    pp: int = 1
    ep: int = 1  # of the tp ranks, over which experts are spread whole
    replicas: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of all servers."""
        return self.tp * self.pp * self.replicas


@dataclass(frozen=True)
class Deployment:
    """A model in number formats on pools of GPUs, and how its engine batches."""

    model: Architecture
    device: Device = field(hash=False)  # whose rates are a dictionary
    system: System | None
    batching: Batching
    formats: Formats = BF16
    pool: Pool = Pool()
    decoders: Pool | None = None  # servers that decode, where `pool` only prefills
    draft: Draft | None = None
    memory_share: float = MEMORY_SHARE
    limited: bool = True  # caches have to fit
    kernels: float = 1.0  # every kernel's time is scaled by this: for sensitivity alone

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return self.pool.gpus + (self.decoders.gpus if self.decoders else 0)

    def weight_bytes(self, pool: Pool) -> float:
        """Bytes of weights on a GPU of the fullest stage."""
        shared, own = layer_parameters(self.model, pool.tp)
        first, last = end_parameters(self.model, pool.tp)
        ends = max(first, last) if pool.pp > 1 else first + last * (not self.model.tied)
        if self.model.joins:  # the ends are those of the model it predicts for
            ends = 2 * self.model.hidden**2
        form = alone(self.formats.weights) if self.formats.weights else FORMATS[self.formats.gemm]
        size = form.weight_bytes, FORMATS[self.formats.moe].weight_bytes
        layers = math.ceil(self.model.layers / pool.pp)
        drafting = self._drafting.weight_bytes(pool) if self._drafting else 0.0
        return layers * (shared * size[0] + own * size[1]) + 2 * ends + drafting

    @property
    def _drafting(self) -> Deployment | None:
        """The model that drafts, served by the same GPUs."""
        drafts = self.draft.model if self.draft else None
        return replace(self, model=drafts, draft=None) if drafts else None

    def cache_bytes(self, tokens: Array | float, pool: Pool) -> Array:
        """Bytes of the keys and values of requests of so many tokens, on a GPU."""
        model, given, tokens = self.model, tokens, np.asarray(tokens, dtype=float)
        wide = model.latent or 2 * max(model.kv_heads / pool.tp, 1) * model.head_dim  # latents are on every rank
        each = wide * FORMATS[self.formats.cache].input_bytes
        if model.window:
            tokens = (1 - model.windowed) * tokens + model.windowed * np.minimum(tokens, model.window)
        own = np.asarray(each * tokens * model.layers / pool.pp)
        return own + self._drafting.cache_bytes(given, pool) if self._drafting else own

    def room_bytes(self, pool: Pool) -> float:
        """Bytes a GPU has for caches; below 0 where the weights alone do not fit."""
        model = self.model
        wide = model.ffn * (model.top_k or 1) / pool.tp
        working = self.batching.budget * 2 * 4 * (model.hidden + wide)
        taken = self.weight_bytes(pool) + STANDARD.context_bytes + working
        return self.memory_share * self.device.memory_bytes - taken


def check(deployment: Deployment, predictor: HalfPrecision) -> None:
    """InputError if the GPUs, the number formats or the ranks are none that can be forecast."""
    one = deployment
    for family, dtype in {"gemm": one.formats.gemm, "moe": one.formats.moe, "decode": one.formats.cache}.items():
        if family == "moe" and not one.model.experts:
            continue
        known = sorted(key.split("/")[1] for key in predictor.meta["rows"] if key.startswith(f"{family}/"))
        if dtype not in known:
            raise InputError(f"{family} in {dtype}", "was measured on no GPU", f"expected {', '.join(known)}")
        if not predictor.covers(one.device, dtype):
            remedy = "serving is forecast for NVIDIA GPUs with matrix units in bf16 and the format asked for"
            raise InputError(one.device.title, f"has no rate of {dtype} products", remedy)
    if one.formats.weights and (one.formats.gemm != "bf16" or one.model.experts):
        problem = f"{one.formats.weights} goes with --dtype bf16, in a model without experts"
        raise InputError("--weight-dtype", problem, "of experts ask for --moe-dtype mxfp4")
    models = [one.model, *([one.draft.model] if one.draft and one.draft.model else [])]
    for model in models:
        if model.attending < 1:
            problem = "has layers without attention, which no served pass has here"
            raise InputError(model.name, problem, "ask `tilecast forecast --phase decode`")
    for model, pool in product(models, filter(None, (one.pool, one.decoders))):
        tp = pool.tp
        if model.heads % tp or (model.kv_heads % tp and tp % model.kv_heads) or model.ffn % tp:
            words = f"{model.heads} heads, {model.kv_heads} key-value heads and a width of {model.ffn}"
            raise InputError(f"tp {tp}", f"does not divide {words}", "choose another")
        if pool.pp > model.layers:
            raise InputError(f"pp {pool.pp}", f"is more than the {model.layers} layers")
        if pool.ep > 1 and model is one.model and (not model.experts or tp % pool.ep or model.experts % pool.ep):
            problem = f"has to divide tp {tp} and the {model.experts} experts"
            raise InputError(
                f"ep {pool.ep}", problem if model.experts else f"needs experts: {model.name} has none"
            )
        if tp * pool.pp > 1 and one.system is None:
            raise InputError(f"{tp * pool.pp} GPUs a server", "need a system", "add --system, such as dgx_h100")
    if one.system and one.gpus > one.system.gpus:
        raise InputError(one.system.name, f"has {one.system.gpus} GPUs, fewer than the {one.gpus} asked for")


class Served(NamedTuple):
    """What clients see of a load, and the passes it was made of."""

    load: Load
    requests: Requests
    times: Times
    decode: Pass  # with all requests that are at work
    prefill: Pass  # of one prompt
    weights: Array  # of each request in a mean or a percentile

    @property
    def ttft_ms(self) -> Array:
        """Time to first token of every request."""
        return self.times.first - self.times.sent

    @property
    def tpot_ms(self) -> Array:
        """Time per output token after the first of every request."""
        return (self.times.last - self.times.first) / np.maximum(self.requests.output - 1, 1)

    @property
    def end_to_end_ms(self) -> Array:
        """Time from sending to the last token of every request."""
        return self.times.last - self.times.sent

    def mean(self, values: Array) -> float:
        """Mean of a run: the first burst of a closed loop counts by its share of all rounds."""
        burst, load = self.load.concurrency, self.load
        if not burst:
            return float(np.mean(values))
        share = 1 / load.rounds if len(values) > burst else 1.0
        return float(share * values[:burst].mean() + (1 - share) * values[-(len(values) - burst) :].mean())

    def percentile(self, values: Array, share: float) -> float:
        """The value that `share` of the requests stay within."""
        order = np.argsort(values)
        reached = np.cumsum(self.weights[order]) / self.weights.sum()
        place = min(int(np.searchsorted(reached, share - 1e-12)), len(order) - 1)
        return float(values[order][place])

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second of one server: of a closed loop by Little's law, else of the whole run."""
        if self.load.concurrency:
            return (
                1e3 * self.load.concurrency * float(np.mean(self.requests.output)) / self.mean(self.end_to_end_ms)
            )
        span = float(self.times.last.max() - self.times.sent.min())
        return 1e3 * float(self.requests.output.sum()) / span

    @property
    def overloaded(self) -> bool:
        """Whether requests of an open loop come faster than they are answered, so that the queue grows."""
        sent, first = self.times.sent, self.times.first
        if self.load.concurrency:
            return False
        half, end = ((sent <= at) & (first > at) for at in (sent[len(sent) // 2], sent[-1]))
        return bool(end.sum() > 1.5 * half.sum() and end.mean() > 0.05)


@dataclass
class _Question:
    """One deployment under one load, and the numbers of its passes."""

    deployment: Deployment
    load: Load
    requests: Requests
    most: int  # requests that one server works on at once
    prompts: int
    numbers: dict[str, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    drafts: dict[int, int] = field(default_factory=dict)


class Desk:
    """Answers about deployments on one kind of GPU and system; kernels of all of them are forecast together."""

    def __init__(
        self,
        predictor: HalfPrecision,
        device: Device,
        system: System | None,
        without: Collection[str] = (),
    ) -> None:
        self.casts = PassForecasts(predictor, device, system, without)
        self.asked: list[_Question] = []

    def ask(self, deployment: Deployment, load: Load, instead: Collection[Deployment] = ()) -> None:
        """Remember one question, or one of each deployment `instead`, whose passes are the same."""
        one, load = deployment, _of_one_server(deployment, load)
        requests, pool = load.requests(), one.decoders or one.pool
        computed = (1 - load.cached) * load.prompt.mean
        most = load.concurrency or _most(one, pool, requests)
        prompts = int(min(max(one.batching.budget // computed, 1), most))
        asked = _Question(one, load, requests, most, prompts)
        drafted = one.draft.tokens + 1 if one.draft else 1
        context = load.prompt.mean + load.output.mean / 2
        counts = {most, 1} if load.concurrency else {min(2**k, most) for k in range(most.bit_length() + 1)}
        for n in sorted(counts):
            work = Work(True, n, n * drafted, context)
            asked.steps[n] = self._add(one, one.model, work, pool)
            if one.draft and one.draft.model:
                asked.drafts[n] = self._add(one, one.draft.model, Work(True, n, n, context), pool)
        held = load.cached * load.prompt.mean
        for name, n, length in (
            ("short", 1, computed / 4),
            ("prefill", 1, computed),
            ("full", prompts, computed),
        ):
            asked.numbers[name] = self._add(one, one.model, Work(False, n, n * length, held), one.pool)
        self.asked += [replace(asked, deployment=other) for other in instead or [one]]

    def _add(self, one: Deployment, model: Architecture, work: Work, pool: Pool) -> int:
        return self.casts.add(model, one.formats, work, pool.tp, pool.ep if model.experts else 1, pool.pp)

    def answers(self) -> list[Served]:
        """The answers to all questions, in order."""
        found = self.casts.passes() if self.asked else []
        return [self._answer(asked, found) for asked in self.asked]

    def _answer(self, asked: _Question, found: Sequence[Pass]) -> Served:
        one, load, draft = asked.deployment, asked.load, asked.deployment.draft
        if one.kernels != 1:
            found = [every.slowed(one.kernels) for every in found]
        steps = {n: found[number] for n, number in asked.steps.items()}
        for n, number in asked.drafts.items():
            assert draft is not None
            drafting = found[number].total_ms * draft.tokens
            steps[n] = steps[n]._replace(families={**steps[n].families, "draft": drafting})
        short, prefill, full = (found[asked.numbers[name]] for name in ("short", "prefill", "full"))
        computed = (1 - load.cached) * load.prompt.mean
        tokens = draft.tokens + 1 if draft else 1
        passes = Passes(steps, short, prefill, full, asked.prompts, computed, tokens)
        times = _replayed(one, asked.requests, load, passes)
        weights = np.ones(len(times.sent))
        if load.concurrency:
            share = 1 / load.rounds if len(weights) > load.concurrency else 1.0
            weights[: load.concurrency] = share / load.concurrency
            weights[load.concurrency :] = (1 - share) / max(len(weights) - load.concurrency, 1)
        return Served(load, asked.requests, times, steps[asked.most], prefill, weights)


def served(deployment: Deployment, load: Load, predictor: HalfPrecision) -> Served:
    """What clients of a deployment see."""
    desk = Desk(predictor, deployment.device, deployment.system)
    desk.ask(deployment, load)
    return desk.answers()[0]


def _of_one_server(one: Deployment, load: Load) -> Load:
    """A load's share of one server; of pools that prefill and decode apart, of all of them.

    The stages of a pipeline work on as many groups of requests, each of which sees whole passes.
    """
    parts = 1 if one.decoders else one.pool.replicas * one.pool.pp
    if load.concurrency % parts:
        problem = f"do not divide over {parts} servers, a pipeline's stages counted"
        raise InputError(f"{load.concurrency} clients", problem, f"give a multiple of {parts}")
    trace = load.trace[::parts]
    return replace(load, concurrency=load.concurrency // parts, rate_per_s=load.rate_per_s / parts, trace=trace)


def _most(one: Deployment, pool: Pool, requests: Requests) -> int:
    """Requests that one server's memory and engine allow at once, at mean length."""
    mean = float(np.mean(one.cache_bytes(requests.length + requests.output, pool)))
    room = one.room_bytes(pool) / (pool.pp if not one.decoders else 1)
    return int(max(min(room // mean, one.batching.sequences, MOST_AT_ONCE, len(requests.prompt)), 1))


def _replayed(one: Deployment, requests: Requests, load: Load, passes: Passes) -> Times:
    """The replay of all requests against the deployment's servers."""
    draft, times = one.draft, passes.times()
    left = requests.prompt.tolist()
    made = requests.output - 1
    decoding = (np.ceil(made / draft.per_pass) if draft else made).astype(int).tolist()
    per_token = requests.output.sum() / max(sum(decoding), 1)  # tokens a decoding pass makes of a request

    def server(pool: Pool, left: list[float], decoding: list[int]) -> Server:
        if not one.limited:
            return Server(one.batching, times, left, decoding)
        room = one.room_bytes(pool) / (pool.pp if not one.decoders else 1)
        whole, cache = (
            one.cache_bytes(requests.length + requests.output, pool),
            one.cache_bytes(requests.length, pool),
        )
        if (over := float(whole.max())) > room:
            problem = f"has {max(room, 0) / 1e9:.1f} GB a GPU for caches, a request needs {over / 1e9:.1f}"
            raise InputError(one.device.title, problem, "take more GPUs a server or a smaller format")
        token = float((whole - cache).sum() / requests.output.sum()) * per_token
        return Server(one.batching, times, left, decoding, cache.tolist(), token, room)

    if one.decoders is None:
        return replay(requests, [server(one.pool, left, decoding)], load.concurrency)
    nothing = [0] * len(left)
    first = [server(one.pool, left, nothing) for _ in range(one.pool.replicas)]
    then = [server(one.decoders, [0.0] * len(left), decoding) for _ in range(one.decoders.replicas)]
    return replay(requests, first, load.concurrency, then, transfer_ms(one, requests.length).tolist())


def transfer_ms(one: Deployment, tokens: Array) -> Array:
    """Milliseconds in which a request's cache goes from the GPUs that prefill to those that decode."""
    assert one.system is not None and one.decoders is not None
    every = one.pool.tp * one.pool.pp  # each sends its part to its peer in the other pool
    sizes = one.cache_bytes(tokens, one.pool)
    few = np.unique(np.quantile(sizes, [0, 0.5, 1]))
    times = [collective("send_recv", one.system, (0, every), float(size)).latency_ms for size in few]
    return np.interp(sizes, few, times)


def sweep(deployment: Deployment, load: Load) -> list[Load]:
    """The same requests from 1, 2, 4 ... clients, up to what all servers have room for at once."""
    one, pool = deployment, deployment.pool
    room = one.room_bytes(pool) // float(one.cache_bytes(load.prompt.mean + load.output.mean, pool))
    most, parts = int(min(room, one.batching.sequences, MOST_AT_ONCE)) * pool.replicas, pool.replicas * pool.pp
    counts = [parts * 2**k for k in range(21) if parts * 2**k <= most]
    return [replace(load, concurrency=count) for count in counts]
