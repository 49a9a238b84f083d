"""The experts study as a checked file (config/studies/moe_prefetch.yaml): inputs, systems, and what follows."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError
from tilecast.base.inputs import Section, validated
from tilecast.graph.routing import Routing, parse_routing
from tilecast.hardware.device_file import load_device
from tilecast.hardware.system import System, load_system
from tilecast.moe.model import MoeModel, moe_model
from tilecast.moe.offload import Predictor
from tilecast.moe.placement import Spread
from tilecast.moe.step import Gpu, Shares, gpu_of

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


class Physical(Section):
    """Inputs of the physical model."""

    like: str
    models: list[str]
    weight_bytes: Positive
    tokens_per_gpu: Count
    context_tokens: Annotated[int, Field(ge=0, le=10_000_000)]
    routing: str = "balanced"
    recall: Share
    precision: PartOf
    lookahead_layers: Annotated[float, Field(ge=0, le=1000)] = 1.0
    reserved_bytes: Annotated[float, Field(ge=0, le=1e15)] = 0.0
    matrix_share: PartOf
    memory_share: PartOf
    host_share: PartOf
    host_bytes_per_gpu: Annotated[float, Field(ge=0, le=1e18)]

    @property
    def shares(self) -> Shares:
        """Shares of the peak rates that kernels reach."""
        return Shares(self.matrix_share, self.memory_share, self.host_share)


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

    def spread(self, strategy: str) -> Spread:
        """How a strategy divides this system's GPUs."""
        if strategy == "hybrid":
            return Spread(self.hybrid.replicas, self.hybrid.expert_parallel)
        return Spread(1, self.gpus) if strategy == "expert_parallel" else Spread(self.gpus, 1)

    def published_spread(self, strategy: str) -> Spread:
        """How the original study's arithmetic divides them."""
        if strategy == "hybrid" and self.published_hybrid:
            return Spread(self.published_hybrid.replicas, self.published_hybrid.expert_parallel)
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

    @property
    def routing(self) -> Routing:
        """The physical model's routing."""
        return parse_routing(self.physical.routing)

    @property
    def predictor(self) -> Predictor:
        """The study's predictor."""
        given = self.physical
        return Predictor(given.recall, given.precision, given.lookahead_layers)

    def model(self) -> MoeModel:
        """The study's own model: a real model with as many experts, resized to the study's expert."""
        given = self.published
        made = moe_model(self.physical.like).resized(f"{given.experts} experts", given.expert_bytes)
        return replace(made, top_k=given.experts_per_token)

    def models(self) -> list[MoeModel]:
        """The real models."""
        return [moe_model(name, self.physical.weight_bytes) for name in self.physical.models]

    def gpu(self, system: StudySystem) -> Gpu:
        """A system's GPU at the rates that kernels reach."""
        return _gpu(system.device, self.physical.shares)

    def system(self, name: str) -> StudySystem:
        """The system of that name."""
        return next(system for system in self.systems if system.name == name)


_system = lru_cache(maxsize=64)(load_system)


@lru_cache(maxsize=64)
def _gpu(device: str, shares: Shares) -> Gpu:
    return gpu_of(load_device(device), shares)


def links(system: StudySystem) -> System:
    """The links between a system's GPUs; InputError if the described system has fewer GPUs."""
    found = _system(system.system)
    if found.gpus < system.gpus:
        raise InputError(system.name, f"{system.gpus} GPUs", f"{system.system} has {found.gpus}")
    return found


def load_study(path: str | Path) -> Study:
    """Read a study file; refuse keys that contradict each other, and models or systems that do not exist."""
    raw = read_yaml(path, "name a study of config/studies")
    study = validated(Study, raw, path, "docs/use/experts.md lists the keys")
    names = [system.name for system in study.systems]
    if len(set(names)) < len(names):
        raise InputError(path, "two systems have one name", "the files of each are named by it")
    if study.focus not in names:
        raise InputError(
            path, f"`focus` = {study.focus!r} is not one of its systems", f"name {' or '.join(names)}"
        )
    experts, like, model = study.published.experts, study.physical.like, study.model()
    if model.experts != experts:
        raise InputError(path, f"`like`: {like} has {model.experts} experts", f"the study has {experts}")
    if study.published.experts_per_token > experts:
        raise InputError(path, f"a token takes more than the {experts} experts there are")
    largest = max((model, *study.models()), key=lambda one: one.expert_bytes)
    _ = study.routing
    for system in study.systems:
        degree = system.hybrid.expert_parallel
        place = f"{path}, system {system.name}"
        if experts % degree:
            each = f"{experts} experts do not divide among {degree} GPUs ({experts / degree:g} each)"
            raise InputError(place, each, "give expert_parallel a divisor")
        links(system)
        memory = study.gpu(system).memory_bytes
        if largest.expert_bytes > memory:
            need = f"one expert of {largest.title} is {largest.expert_bytes / 1e9:.3g} GB"
            raise InputError(place, f"{need}, a GPU has {memory / 1e9:.3g} GB", "take a larger GPU")
    return study
