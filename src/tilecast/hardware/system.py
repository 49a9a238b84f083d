"""A system of GPUs as its makers describe it: which GPUs share which link, and how nodes reach each other.

data/systems/*.yaml describes each (keys: docs/understand/collectives.md). A node's links stand in tiers: a tier
joins sets of GPUs, and GPUs that stand behind one port of it share that port's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilecast.base.documents import read_yaml, shown
from tilecast.base.errors import InputError
from tilecast.base.limits import MOST, check
from tilecast.base.paths import SYSTEMS

KINDS = ("nvswitch", "nvlink", "pcie_switch", "host_bridge", "socket")
_KEYS = {
    "title", "device", "gpus_per_node", "nodes", "nvls", "measured_as", "tiers", "network", "sources", "notes",
}  # fmt: skip
_TIER_KEYS = {"kind", "bytes_per_s", "joins", "ports", "like", "source"}
_NETWORK_KEYS = {"nics", "bytes_per_s", "oversubscription", "source"}


@dataclass(frozen=True)
class Tier:
    """Links of one kind within a node."""

    kind: str
    bytes_per_s: float  # what one port carries one way
    joins: tuple[tuple[int, ...], ...]  # sets of GPUs whose members reach each other over it
    ports: tuple[tuple[int, ...], ...]  # GPUs behind one port; a GPU of none has a port of its own
    like: str  # the measured system whose curves it is given
    source: str

    def port(self, gpu: int) -> tuple[int, ...]:
        """The GPUs that share `gpu`'s port."""
        return next((port for port in self.ports if gpu in port), (gpu,))


@dataclass(frozen=True)
class Network:
    """What joins nodes: cards a node, the rate of one, and how far the network above is thinner than they are."""

    nics: int
    bytes_per_s: float
    oversubscription: float
    source: str


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
        return _read(Path(text))
    path = SYSTEMS / f"{text}.yaml"
    if text not in system_names():
        raise InputError(text, "is no known system", f"give a file, or one of {', '.join(system_names())}")
    return _read(path)


def system_names() -> list[str]:
    """Systems described in data/systems."""
    return sorted(path.stem for path in SYSTEMS.glob("*.yaml"))


def route(system: System, gpus: Sequence[int], others: Sequence[Sequence[int]] = ()) -> Route:
    """How `gpus` reach each other while the groups `others` communicate too; InputError if two of them cannot."""
    _checked_group(system, gpus)
    for other in others:
        _checked_group(system, other)
    here = _by_node(system, gpus)
    elsewhere = [_by_node(system, other) for other in others]
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


def _checked_group(system: System, gpus: Sequence[int]) -> None:
    if not gpus:
        raise InputError(system.name, "no GPU is named", "a group has at least one")
    if len(set(gpus)) != len(gpus):
        raise InputError(system.name, "a GPU is named twice", "a group has each GPU once")
    bad = [gpu for gpu in gpus if not 0 <= gpu < system.gpus]
    if bad:
        raise InputError(system.name, f"has no GPU {bad[0]}", f"its GPUs are 0 to {system.gpus - 1}")


def _by_node(system: System, gpus: Sequence[int]) -> dict[int, list[int]]:
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
        if len(clusters) <= 1:
            return used
    if len(clusters) > 1:
        first, second = sorted(min(cluster) + node * system.gpus_per_node for cluster in clusters)[:2]
        raise InputError(system.name, f"no link between GPU {first} and {second}", "name GPUs that are linked")
    return used


def _read(path: Path) -> System:
    raw = read_yaml(path, "name a system file, or one of data/systems")
    entry = _mapping(raw, _KEYS, {"gpus_per_node", "tiers"}, path, "a system")
    gpus = _whole(entry["gpus_per_node"], "gpus_per_node", path)
    nodes = _whole(entry.get("nodes", 1), "nodes", path)
    documents = entry.get("sources") or {}
    if not isinstance(documents, dict):
        raise InputError(path, "`sources` is not a mapping", "map short names of documents to their titles")
    if not isinstance(entry["tiers"], list):
        raise InputError(path, "`tiers` is not a list", "each has kind, bytes_per_s, joins, like, source")
    tiers = [_tier(item, gpus, documents, path) for item in entry["tiers"]]
    if len({tier.kind for tier in tiers}) < len(tiers):
        raise InputError(path, "two tiers are of one kind", "give one tier for each kind of link")
    network = _network(entry["network"], documents, path) if entry.get("network") else None
    if nodes > 1 and network is None:
        raise InputError(path, f"{nodes} nodes without `network`", "describe nics and bytes_per_s")
    nvls = entry.get("nvls", False)
    if not isinstance(nvls, bool):
        raise InputError(path, f"`nvls` = {nvls!r} is neither true nor false")
    measured = entry.get("measured_as")
    return System(
        name=path.stem,
        title=str(entry.get("title", path.stem)),
        device=str(entry.get("device", "")),
        gpus_per_node=gpus,
        nodes=nodes,
        tiers=tuple(sorted(tiers, key=lambda tier: -tier.bytes_per_s)),
        network=network,
        nvls=nvls,
        measured_as=str(measured) if measured else None,
    )


def _mapping(raw: Any, known: set[str], needed: set[str], where: Path, what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise InputError(where, f"{what} is not a mapping", f"it has {', '.join(sorted(known))}")
    unknown = sorted(str(key) for key in raw if key not in known)
    if unknown:
        raise InputError(where, f"unknown key `{unknown[0]}`", f"{what} has {', '.join(sorted(known))}")
    missing = sorted(needed - set(raw))
    if missing:
        raise InputError(where, f"`{missing[0]}` is missing", f"{what} has {', '.join(sorted(known))}")
    return raw


def _tier(raw: Any, gpus: int, documents: dict[str, Any], where: Path) -> Tier:
    entry = _mapping(raw, _TIER_KEYS, {"kind", "bytes_per_s", "source"}, where, "a tier")
    kind = str(entry["kind"])
    if kind not in KINDS:
        raise InputError(where, f"unknown kind {kind!r} of link", f"expected one of {', '.join(KINDS)}")
    joins = _sets(entry.get("joins", [list(range(gpus))]), "joins", gpus, where)
    return Tier(
        kind=kind,
        bytes_per_s=_rate(entry["bytes_per_s"], where),
        joins=joins,
        ports=_sets(entry.get("ports", []), "ports", gpus, where),
        # ASSUME: an unmeasured NVLink behaves like H100's, an unmeasured PCIe like the L40S server's.
        like=str(entry.get("like", "h100_sxm" if kind in ("nvswitch", "nvlink") else "l40s")),
        source=_source(entry["source"], documents, where),
    )


def _network(raw: Any, documents: dict[str, Any], where: Path) -> Network:
    entry = _mapping(raw, _NETWORK_KEYS, {"nics", "bytes_per_s", "source"}, where, "a network")
    over = entry.get("oversubscription", 1.0)
    if isinstance(over, bool) or not isinstance(over, int | float) or not 1 <= over < 1000:
        raise InputError(
            where, f"`oversubscription` = {shown(over)} is not a number from 1", "1 is a full network"
        )
    return Network(
        nics=_whole(entry["nics"], "nics", where),
        bytes_per_s=_rate(entry["bytes_per_s"], where),
        oversubscription=float(over),
        source=_source(entry["source"], documents, where),
    )


def _source(name: Any, documents: dict[str, Any], where: Path) -> str:
    if not isinstance(name, str) or name not in documents:
        raise InputError(
            where, f"source {shown(name)} is not among `sources`", "every rate says where it comes from"
        )
    return str(documents[name])


def _whole(value: Any, key: str, where: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(where, f"`{key}` = {shown(value)} is not a whole number above zero")
    return check(key if key in MOST else "gpus_per_node", value, f"{where}, `{key}`")


def _rate(value: Any, where: Path) -> float:
    try:
        rate = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        rate = float("nan")
    if not 1e6 <= rate <= 1e14:
        raise InputError(
            where, f"`bytes_per_s` = {shown(value)} is no rate of a link", "give bytes per second, one way"
        )
    return rate


def _sets(raw: Any, key: str, gpus: int, where: Path) -> tuple[tuple[int, ...], ...]:
    if not isinstance(raw, list) or not all(isinstance(item, list) for item in raw):
        raise InputError(where, f"`{key}` is no list of lists of GPUs", "such as [[0, 1], [2, 3]]")
    members = [gpu for item in raw for gpu in item]
    for gpu in members:
        if isinstance(gpu, bool) or not isinstance(gpu, int) or not 0 <= gpu < gpus:
            raise InputError(where, f"`{key}` names GPU {shown(gpu)}", f"a node's GPUs are 0 to {gpus - 1}")
    if len(set(members)) != len(members):
        twice = next(gpu for gpu in members if members.count(gpu) > 1)
        raise InputError(where, f"`{key}` names GPU {twice} twice", "a GPU is in one set of a tier")
    return tuple(tuple(item) for item in raw)
