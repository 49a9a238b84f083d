"""The experts study as a checked file (config/studies/moe_prefetch.yaml): inputs, systems, and what follows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Section, validated
from tilecast.graph.routing import parse_routing
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import System, load_system
from tilecast.models.registry import load_model
from tilecast.moe.model import moe_model, with_expert_bytes
from tilecast.moe.offload import POLICIES, Predictor
from tilecast.moe.step import Decoder, Rates, Serving, spread
from tilecast.multigpu.layout import Layout
from tilecast.predict.kernel import Predictor as KernelPredictor
from tilecast.predict.registry import load_predictor

Positive = Annotated[float, Field(gt=0, le=1e18)]
Share = Annotated[float, Field(ge=0, le=1)]
PartOf = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Published(Section):
    """Inputs of the original study's arithmetic."""

    experts: Count
    expert_bytes: Positive
    experts_per_token: Count
    baseline_tokens_per_s: Positive
    prophet_tokens_per_s: Positive
    prophet_gain: Positive
    accuracy: Share


class Inputs(Section):
    """Inputs of the physical model that any of its cases has; each has a default."""

    tokens_per_gpu: Count = 1
    context_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 512
    engine: Literal["eager", "compiled"] = "eager"
    routing: str = "balanced"
    reuse: Share = 0.0
    trace: str | None = None
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    policy: Literal[POLICIES] = "lru"  # type: ignore[valid-type]
    cache_share: Share | None = None
    recall: Share = 0.0
    precision: PartOf = 1.0
    lookahead_layers: Annotated[int, Field(ge=1, le=100)] = 1
    fetch: Literal["needed", "whole layers"] = "needed"
    memory: Literal["pinned", "pageable"] = "pinned"
    piece_bytes: Annotated[float, Field(ge=4096, le=1e18)] | None = None
    loop: bool = False
    host_share: PartOf = 0.787
    host_bytes_per_s: Positive | None = None
    pageable_bytes_per_s: Positive = 10.0e9
    host_bytes_per_gpu: Annotated[float, Field(ge=0, le=1e18)] = 1e15

    @property
    def serving(self) -> Serving:
        """How tokens are routed and experts kept and fetched."""
        return Serving(
            routing=parse_routing(self.routing),
            reuse=self.reuse,
            trace=self.trace,
            seed=self.seed,
            policy=self.policy,
            cache_share=self.cache_share,
            predictor=Predictor(self.recall, self.precision, self.lookahead_layers),
            whole_layers=self.fetch == "whole layers",
            pinned=self.memory == "pinned",
            piece_bytes=self.piece_bytes,
            loop=self.loop,
            host_bytes=self.host_bytes_per_gpu,
        )

    @property
    def rates(self) -> Rates:
        """What links to the host deliver."""
        return Rates(self.host_share, self.pageable_bytes_per_s, self.host_bytes_per_s)

    def changed(self, where: object, **values: Any) -> Self:
        """The inputs with some replaced, checked anew."""
        given = {name: value for name, value in self.model_dump().items() if name not in values}
        return validated(type(self), given | values, where, "docs/use/experts.md lists the inputs")


class Physical(Inputs):
    """Inputs of the study's physical model; `unstated`: other values of inputs that the study leaves open."""

    like: str
    models: list[str]
    unstated: dict[str, list[Any]] = Field(default_factory=dict)


class Hybrid(Section):
    """Replicas, and the GPUs among which each divides its experts."""

    replicas: Count
    expert_parallel: Count


class StudySystem(Section):
    """One system of the study; `system` and `device` as data/systems and data/devices name them."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")
    system: str
    device: str
    gpus: Count
    hybrid: Hybrid
    published_hybrid: Hybrid | None = None
    published_bandwidth_bytes_per_s: Positive
    usd_per_gpu_hour: Positive

    @model_validator(mode="after")
    def _adds_up(self) -> StudySystem:
        for hybrid in filter(None, (self.hybrid, self.published_hybrid)):
            if hybrid.replicas * hybrid.expert_parallel != self.gpus:
                raise ValueError(
                    f"{hybrid.replicas} replicas of {hybrid.expert_parallel} GPUs are not {self.gpus} GPUs"
                )
        return self

    def spread(self, strategy: str) -> Layout:
        """How a strategy divides this system's GPUs."""
        if strategy == "hybrid":
            return spread(self.hybrid.replicas, self.hybrid.expert_parallel)
        return spread(1, self.gpus) if strategy == "expert_parallel" else spread(self.gpus, 1)

    def published_spread(self, strategy: str) -> Layout:
        """How the original study's arithmetic divides them."""
        if strategy == "hybrid" and self.published_hybrid:
            return spread(self.published_hybrid.replicas, self.published_hybrid.expert_parallel)
        return self.spread(strategy)


class Study(Section):
    """The whole file."""

    title: str
    tokens_per_month: Positive
    published: Published
    physical: Physical
    systems: list[StudySystem] = Field(min_length=1)
    focus: str
    sources: dict[str, str]

    def decoder(self, system: StudySystem, inputs: Inputs, model: str | None = None) -> Decoder:
        """Decoding steps of a model on a system; of the study's own model where none is named."""
        own = (
            None if model else (self.physical.like, self.published.expert_bytes, self.published.experts_per_token)
        )
        return decoder(model, own, system.device, system.system, inputs)

    def system(self, name: str) -> StudySystem:
        """The system of that name."""
        return next(system for system in self.systems if system.name == name)


_system = lru_cache(maxsize=64)(load_system)


def decoder(
    model: str | None, own: tuple[str, float, int] | None, device: str, system: str, inputs: Inputs
) -> Decoder:
    """Decoding steps of a model (or of one resized: like what, bytes of an expert, experts a token)."""
    return _decoder(model, own, device, system, inputs.rates, inputs.context_tokens, inputs.engine == "compiled")


@lru_cache(maxsize=64)
def _decoder(
    model: str | None,
    own: tuple[str, float, int] | None,
    device: str,
    system: str,
    rates: Rates,
    context: int,
    compiled: bool,
) -> Decoder:
    spec = with_expert_bytes(load_model(own[0]), *own[1:]) if own else load_model(str(model))
    kernels = _predictor()
    return Decoder(spec, load_device(device), _system(system), kernels, rates, context=context, compiled=compiled)


@lru_cache(maxsize=1)
def _predictor() -> KernelPredictor:
    return load_predictor("tilecast", None)


def links(system: StudySystem) -> System:
    """The links between a system's GPUs; InputError if the described system has fewer GPUs."""
    found = _system(system.system)
    if found.gpus < system.gpus:
        raise InputError(system.name, f"{system.gpus} GPUs", f"{system.system} has {found.gpus}")
    return found


def load_study(path: str | Path) -> Study:
    """Read a study file; refuse keys that contradict each other, and models or systems that do not exist."""
    raw = read_yaml(path, "name a study of config/studies")
    return check(validated(Study, raw, path, "docs/use/experts.md lists the keys"), path)


def check(study: Study, path: object) -> Study:
    """The study, whose parts agree with each other and name what exists."""
    names = [system.name for system in study.systems]
    if len(set(names)) < len(names):
        raise InputError(path, "two systems have one name", "the files of each are named by it")
    if study.focus not in names:
        raise InputError(
            path, f"`focus` = {study.focus!r} is not one of its systems", f"name {' or '.join(names)}"
        )
    given, experts, like = study.physical, study.published.experts, study.physical.like
    if (found := moe_model(like).experts) != experts:
        raise InputError(path, f"`like`: {like} has {found} experts", f"the study has {experts}")
    if study.published.experts_per_token > experts:
        raise InputError(path, f"a token takes more than the {experts} experts there are")
    own = with_expert_bytes(load_model(like), study.published.expert_bytes, study.published.experts_per_token)
    largest = max((moe_model(own), *map(moe_model, given.models)), key=lambda one: one.expert_bytes)
    for name, values in given.unstated.items():
        for value in values:
            _ = given.changed(f"{path}, unstated", **{name: value}).serving
    _ = given.serving
    for system in study.systems:
        degree = system.hybrid.expert_parallel
        place = f"{path}, system {system.name}"
        if experts % degree:
            each = f"{experts} experts do not divide among {degree} GPUs ({experts / degree:g} each)"
            raise InputError(place, each, "give expert_parallel a divisor")
        links(system)
        memory = load_device(system.device).memory_bytes
        if largest.expert_bytes > memory:
            need = f"one expert of {largest.title} is {largest.expert_bytes / 1e9:.3g} GB"
            raise InputError(place, f"{need}, a GPU has {memory / 1e9:.3g} GB", "take a larger GPU")
    return study
