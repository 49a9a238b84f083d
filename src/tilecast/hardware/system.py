"""A system of GPUs as its makers describe it: which GPUs share which link, and how nodes reach each other.

data/systems/*.yaml describes each (keys: docs/understand/collectives.md). A node's links stand in tiers: a tier
joins sets of GPUs, and GPUs that stand behind one port of it share that port's rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilecast.base import cache
from tilecast.base.errors import InputError
from tilecast.base.names import find, remedy
from tilecast.base.paths import SYSTEMS


@dataclass(frozen=True)
class Tier:
    """Links of one kind within a node."""

    kind: str
    bytes_per_s: float  # what one port carries one way
    joins: tuple[tuple[int, ...], ...]  # sets of GPUs whose members reach each other over it
    ports: tuple[tuple[int, ...], ...]  # GPUs behind one port; a GPU of none has a port of its own
    like: str  # the measured system whose curves it is given

    def port(self, gpu: int) -> tuple[int, ...]:
        """The GPUs that share `gpu`'s port."""
        return next((port for port in self.ports if gpu in port), (gpu,))


@dataclass(frozen=True)
class Network:
    """What joins nodes: cards a node, the rate of one, and how far the network above is thinner than they are."""

    nics: int
    bytes_per_s: float
    oversubscription: float


@dataclass(frozen=True)
class System:
    """Equal nodes of equal GPUs; GPU i sits in node i // gpus_per_node."""

    name: str
    title: str
    device: str
    gpus_per_node: int
    nodes: int
    tiers: tuple[Tier, ...]  # fastest first
    network: Network | None
    nvls: bool  # NVSwitch that adds up and multicasts by itself
    measured_as: str | None  # name in the measured tables, if its node is one that was measured

    @property
    def gpus(self) -> int:
        """All GPUs of the system."""
        return self.gpus_per_node * self.nodes


@dataclass(frozen=True)
class Leg:
    """A tier that a group needs within a node."""

    tier: Tier
    bytes_per_s: float  # of one port, one way, after sharing
    behind_port: int  # GPUs of the group behind one port


@dataclass(frozen=True)
class Route:
    """What a group of GPUs has to communicate over."""

    gpus: int
    nodes: int
    local: int  # GPUs of the group in the node that holds most of them
    legs: tuple[Leg, ...]  # fastest tier first; none if no node holds two of them
    node_bytes_per_s: float  # out of one node, one way, after sharing; infinite within one node


def load_system(path_or_name: str | Path) -> System:
    """The system of a YAML file, or of data/systems by its file stem."""
    text = str(path_or_name)
    if text.endswith((".yaml", ".yml")):
        return _built(Path(text).stem, _checked(Path(text)))
    names = system_names()
    if (found := find(text, names)) is None:
        words = f"give a file, or one of {', '.join(names)}"
        raise InputError(text, "is not a known system", remedy(text, names, words))
    return _shipped(found)


def system_names() -> list[str]:
    """Systems described in data/systems."""
    return sorted(path.stem for path in SYSTEMS.glob("*.yaml"))


def route(system: System, gpus: Sequence[int], others: Sequence[Sequence[int]] = ()) -> Route:
    """How `gpus` reach each other while the groups `others` communicate too; InputError if two of them cannot."""
    here, *elsewhere = (_by_node(system, group) for group in (gpus, *others))
    legs: dict[str, Leg] = {}
    for node, local in here.items():
        for used in _used(system, local, node):
            rivals = [group[node] for group in elsewhere if used in _used(system, group.get(node, ()), node)]
            sharing = max(1 + sum(bool(set(used.port(gpu)) & set(rival)) for rival in rivals) for gpu in local)
            leg = legs.get(used.kind, Leg(used, float("inf"), 1))
            behind = max(len(set(used.port(gpu)) & set(local)) for gpu in local)
            rate = min(leg.bytes_per_s, used.bytes_per_s / sharing)
            legs[used.kind] = Leg(used, rate, max(leg.behind_port, behind))
    most = max(len(local) for local in here.values())
    return Route(len(gpus), len(here), most, tuple(legs.values()), _node_rate(system, here, elsewhere))


def _node_rate(system: System, here: dict[int, list[int]], elsewhere: list[dict[int, list[int]]]) -> float:
    """Rate out of a node: each GPU drives the cards beside it; groups that leave the node share them all."""
    if len(here) == 1:
        return float("inf")
    network = system.network
    if network is None:
        first, second = (group[0] + node * system.gpus_per_node for node, group in list(here.items())[:2])
        raise InputError(system.name, f"no link between GPU {first} and {second}", "it has no network of nodes")
    rates = []
    for node, local in here.items():
        own = max(len(local) * network.nics / system.gpus_per_node, 1.0)
        crossing = 1 + sum(node in group and len(group) > 1 for group in elsewhere)
        rates.append(min(own, network.nics / crossing))
    # ASSUME: traffic spreads evenly over the network, so oversubscription divides every node's rate alike.
    return min(rates) * network.bytes_per_s / network.oversubscription


def _by_node(system: System, gpus: Sequence[int]) -> dict[int, list[int]]:
    """The places of a group's GPUs within each node; InputError where it is not a group of this system."""
    if not gpus:
        raise InputError(system.name, "no GPU is named", "a group has at least one")
    if len(set(gpus)) != len(gpus):
        raise InputError(system.name, "a GPU is named twice", "a group has each GPU once")
    bad = [gpu for gpu in gpus if not 0 <= gpu < system.gpus]
    if bad:
        raise InputError(system.name, f"has no GPU {bad[0]}", f"its GPUs are 0 to {system.gpus - 1}")

    nodes: dict[int, list[int]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu // system.gpus_per_node, []).append(gpu % system.gpus_per_node)
    return nodes


def _used(system: System, local: Sequence[int], node: int) -> list[Tier]:
    """Tiers needed to connect the GPUs of one node, fastest first: a spanning tree of widest links."""
    clusters = [{gpu} for gpu in local]
    used = []
    for tier in system.tiers:
        before = len(clusters)
        for joined in tier.joins:
            touched = [cluster for cluster in clusters if cluster & set(joined)]
            if len(touched) > 1:
                clusters = [cluster for cluster in clusters if cluster not in touched] + [set().union(*touched)]
        if len(clusters) < before:
            used.append(tier)
    if len(clusters) > 1:
        first, second = sorted(min(cluster) + node * system.gpus_per_node for cluster in clusters)[:2]
        raise InputError(system.name, f"no link between GPU {first} and {second}", "name GPUs that are linked")
    return used


def _shipped(name: str) -> System:
    """A system of data/systems; that its file holds what it may is found once, until one of the two changes."""
    path = SYSTEMS / f"{name}.yaml"
    kept = cache.place("systems", path.read_bytes(), Path(__file__).with_name("system_file.py").read_bytes())
    found = cache.read(kept)
    if found is None:
        found = _checked(path)
        cache.write(kept, found)
    return _built(name, found)


def _checked(path: Path) -> dict[str, Any]:
    from tilecast.hardware.system_file import checked  # not sooner: it imports pydantic

    return checked(path)


def _built(name: str, file: Mapping[str, Any]) -> System:
    tiers = []
    for tier in sorted(file["tiers"], key=lambda tier: -tier["bytes_per_s"]):
        # ASSUME: an unmeasured NVLink behaves like H100's, an unmeasured PCIe like the L40S server's.
        like = tier["like"] or ("h100_sxm" if tier["kind"] in ("nvswitch", "nvlink") else "l40s")
        joins = [range(file["gpus_per_node"])] if tier["joins"] is None else tier["joins"]
        joined, ports = (tuple(map(tuple, sets)) for sets in (joins, tier["ports"]))
        tiers.append(Tier(tier["kind"], tier["bytes_per_s"], joined, ports, like))
    values = {key: file[key] for key in ("device", "gpus_per_node", "nodes", "nvls")}
    values |= {"title": file["title"] or name, "measured_as": file["measured_as"] or None}
    cards = file["network"]
    network = cards and Network(cards["nics"], cards["bytes_per_s"], cards["oversubscription"])
    return System(name=name, tiers=tuple(tiers), network=network, **values)
