"""The file that describes a system: what it may hold."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tilecast.base.documents import read_yaml, shown
from tilecast.base.inputs import AsTuple, Number, Section, validated, within
from tilecast.base.limits import MOST

_KEYS = "docs/understand/collectives.md lists the keys"
_Rate = Annotated[Number, within(1e6, 1e14, "bytes per second, one way")]
_Sets = Annotated[tuple[Annotated[tuple[int, ...], AsTuple], ...], AsTuple]


class _Tier(Section):
    kind: Literal["nvswitch", "nvlink", "pcie_switch", "host_bridge", "socket"]
    bytes_per_s: _Rate
    joins: _Sets | None = None
    ports: _Sets = ()
    like: str | None = None
    source: str


class _Network(Section):
    nics: Annotated[int, Field(ge=1, le=MOST["gpus_per_node"][0])]
    bytes_per_s: _Rate
    oversubscription: Annotated[float, Field(ge=1, lt=1000)] = 1.0
    source: str


class _File(Section):
    title: str | None = None
    device: str = ""
    gpus_per_node: Annotated[int, Field(ge=1, le=MOST["gpus_per_node"][0])]
    nodes: Annotated[int, Field(ge=1, le=MOST["nodes"][0])] = 1
    nvls: bool = False
    measured_as: str | None = None
    tiers: list[_Tier]
    network: _Network | None = None
    sources: dict[str, str]
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> _File:
        for source in [tier.source for tier in self.tiers] + ([self.network.source] if self.network else []):
            if source not in self.sources:
                raise ValueError(f"source {shown(source)} is not among `sources`")
        if len({tier.kind for tier in self.tiers}) < len(self.tiers):
            raise ValueError("two tiers are of one kind; give one tier for each kind of link")
        if self.nodes > 1 and self.network is None:
            raise ValueError(f"{self.nodes} nodes without `network`; describe nics and bytes_per_s")
        for key, tier in product(("joins", "ports"), self.tiers):
            members = [gpu for each in getattr(tier, key) or () for gpu in each]
            for gpu in members:
                if not 0 <= gpu < self.gpus_per_node:
                    raise ValueError(f"`{key}` names GPU {shown(gpu)} of a node's 0 to {self.gpus_per_node - 1}")
                if members.count(gpu) > 1:
                    raise ValueError(f"`{key}` names GPU {gpu} twice; a GPU is in one set of a tier")
        return self


def checked(path: Path) -> dict[str, Any]:
    """What a system file holds and may hold, or one line; what it leaves out has its usual value."""
    file = validated(_File, read_yaml(path, "name a system file, or one of data/systems"), path, _KEYS)
    return file.model_dump(mode="json", exclude={"sources", "notes"})
