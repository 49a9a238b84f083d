"""Time of a collective operation on a described system, by protocol and algorithm (ring, tree, NVLS).

A line is one protocol: time = latency + hops + bytes / rate. NCCL takes the fastest protocol for a size, so a
group's time is the least of its lines. Lines are fitted on measured systems (tilecast.multigpu.collectives_fit); a
system nobody measured gets the lines of the one its description names, at its own links' rates and with a wider
interval. Sizes count as nccl-tests does: the buffer a GPU ends up with (all-gather), or starts from (the others).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from tilecast.base.errors import InputError
from tilecast.base.paths import CURVES
from tilecast.hardware.system import Leg, Route, System, load_system, route

OPS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")
# ASSUME: never measured here, so given the curve that moves data the same way: one ring, one pair.
CURVE_OF = {"broadcast": "all_gather", "send_recv": "all_to_all"}

# Between nodes nothing is measured. Seconds a network step takes and the share of the cards' rate a protocol keeps
# are those by which NCCL itself chooses (src/graph/tuning.cc, version 2.19: hwLat NET, busBw of LL, LL128, tree).
NETWORK_STEP_S = {"LL": 2.7e-6, "LL128": 4.0e-6, "Simple": 14.0e-6}
NETWORK_SHARE = {"LL": 0.25, "LL128": 0.92, "Simple": 1.0}
TREE_STEP_S = {"LL": 5.0e-6, "LL128": 8.5e-6, "Simple": 28.0e-6}
TREE_SHARE = {"LL": 0.92 / 3.8, "LL128": 0.92 * 120 / 128, "Simple": 0.92}
NVLS_TREE_STEP_S = 14.0e-6
# How one GPU's curves become another's (sources: docs/understand/collectives.md). A message is handled by
# instructions, so starts and hops take as many cycles of the clock as there. What else differs between generations
# of NVLink is published: the rate NCCL counts on of what a link is specified for (src/graph/topo.h, per link),
# NVLS's share of it (src/graph/tuning.cc), and how long a message is on its way against NVLink 4 (8 bytes among
# eight GPUs with every tuning: 3.0 us on B200, 2.3 on H200 and H800; NVIDIA/nccl issue 1940).
LINK_SHARE = {"nvlink3": 20.0 / 25, "nvlink4": 20.6 / 25, "nvlink5": 40.1 / 50}
NVLINKS = ("nvswitch", "nvlink")  # links of which several systems were measured
NVLS_SHARE = {"nvlink4": 0.85, "nvlink5": 0.74}
LINK_DELAY = {"nvlink5": 3.0 / 2.3}
# ASSUME: a forecast held against nothing is good to a factor of two: across nodes, and over another server's PCIe
# (one was measured).
NETWORK_SPREAD = math.log(2)


@dataclass(frozen=True)
class Line:
    """One protocol: seconds to start, seconds for every GPU beyond two, share of the link's rate it reaches."""

    protocol: str
    latency_s: float
    hop_s: float
    efficiency: float


@dataclass(frozen=True)
class Curve:
    """The lines of one operation on one measured system."""

    lines: tuple[Line, ...]
    nvls: Line | None
    factors: Mapping[str, Mapping[int, float]]  # kind of link -> group size -> rate against that of two GPUs
    spread: float = 0.0  # 90th percentile of |log(forecast / measured)| at sizes left out
    spec_spread: float = 0.0  # the same for a measured system forecast from another one


@dataclass(frozen=True)
class Forecast:
    """One collective's time, its 90 % interval, and what it was computed from."""

    latency_ms: float
    low_ms: float
    high_ms: float
    algorithm: str
    protocol: str
    basis: str  # measured (curves of this node), or spec-only (another's curves, own links)
    reference: str  # whose curves


@lru_cache(maxsize=1)
def curves() -> dict[str, dict[str, Curve]]:
    """The fitted curves by measured system and operation."""
    return curves_of(_trained()["systems"])


def curves_without_size() -> dict[str, dict[str, dict[str, Curve]]]:
    """The same, fitted without one size each, by that size."""
    return {size: curves_of(systems) for size, systems in _trained()["without_size"].items()}


def _trained() -> dict[str, dict]:
    try:
        trained = json.loads(CURVES.read_text(encoding="utf-8"))
        return {key: trained[key] for key in ("systems", "without_size")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "write it with python -m tilecast.multigpu.collectives_fit"
        raise InputError(CURVES.name, f"cannot be read ({error!r})", remedy) from None


def curves_of(systems: dict[str, dict[str, dict]]) -> dict[str, dict[str, Curve]]:
    """Curves from their JSON form."""
    return {
        system: {
            op: Curve(
                tuple(Line(**line) for line in values["lines"]),
                Line(**values["nvls"]) if values["nvls"] else None,
                {kind: {int(n): x for n, x in sizes.items()} for kind, sizes in values["factors"].items()},
                values["spread"],
                values["spec_spread"],
            )
            for op, values in ops.items()
        }
        for system, ops in systems.items()
    }


def port_share(op: str, gpus: int, behind_port: int = 1) -> float:
    """Share of the size that one port sends: in a ring that of one GPU; in an all-to-all all that leaves the port.

    Ring factors as in nccl-tests, doc/PERFORMANCE.md: 2 (n - 1) / n for all-reduce, (n - 1) / n for the others.
    """
    if op == "all_reduce":
        return 2 * (gpus - 1) / gpus
    if op == "all_to_all":
        # Some port has at least one GPU of the group behind it, and all of them none beyond it.
        return max(behind_port * (gpus - behind_port), gpus - 1) / gpus
    if op in ("all_gather", "reduce_scatter"):
        return (gpus - 1) / gpus
    return 1.0  # broadcast and send/recv pass everything on


def group_factor(curve: Curve, kind: str, gpus: int) -> float:
    """Rate of a group relative to two GPUs: log-linear between the measured group sizes, constant beyond."""
    sizes = curve.factors.get(kind) or {n: f for known in curve.factors.values() for n, f in known.items()}
    known = sorted(sizes)
    gpus = min(max(gpus, known[0]), known[-1])
    low = max(n for n in known if n <= gpus)
    high = min(n for n in known if n >= gpus)
    if low == high:
        return sizes[low]
    weight = math.log(gpus / low) / math.log(high / low)
    return sizes[low] ** (1 - weight) * sizes[high] ** weight


def collective(
    op: str,
    system: System,
    gpus: Sequence[int],
    size: float,
    others: Sequence[Sequence[int]] = (),
    fitted: dict[str, dict[str, Curve]] | None = None,
) -> Forecast:
    """Time of `op` over `size` bytes among `gpus`, while the groups `others` communicate over shared links too."""
    if op not in OPS:
        raise InputError(op, "is no collective", f"expected one of {', '.join(OPS)}")
    if not 0 <= size < float("inf"):
        raise InputError(op, f"{size} bytes cannot be sent", "give a number from zero up")
    if op == "send_recv" and len(gpus) > 2:
        raise InputError(op, f"has two ends, not {len(gpus)}", "name two GPUs")
    return timed(op, system, route(system, gpus, others), size, fitted)


class Way(NamedTuple):
    """One way to run an operation: start, then the slower of two flows (each a share of the size), then end."""

    start_s: float
    inside: float  # share of the size that passes a link of the node, and its rate
    inside_rate: float
    outside: float  # the same of the node's way out
    outside_rate: float
    end_s: float
    algorithm: str = "none"
    protocol: str = "none"


NO_WAY = Way(0.0, 0.0, math.inf, 0.0, math.inf, 0.0)  # of a GPU alone: no time at all
LONG_WAY = NO_WAY._replace(start_s=math.inf)  # never the fastest: fills a table's gaps


def seconds(way: Any, size: Any, larger: Callable[[Any, Any], Any] = max) -> Any:
    """Seconds of `size` bytes a way; both may be arrays, `way` of the six numbers of a Way each."""
    start, inside, inside_rate, outside, outside_rate, end = way[:6]
    return start + larger(inside * size / inside_rate, outside * size / outside_rate) + end


@dataclass(frozen=True)
class Tried:
    """The ways of an operation over one leg of a group's route, of which the fastest is taken."""

    ways: tuple[Way, ...]
    basis: str
    reference: str
    spread: float  # of the forecast's logarithm


def tried(op: str, system: System, way: Route, fitted: dict[str, dict[str, Curve]] | None = None) -> list[Tried]:
    """The ways over each leg of a route, all of which are passed at once: the slowest leg sets the time."""
    # One GPU a node still starts kernels as its node does.
    legs: list[Leg | None] = list(way.legs) or [None]
    known, found = curves() if fitted is None else fitted, []
    for leg in legs:
        like = leg.tier.like if leg else (system.tiers[0].like if system.tiers else "h100_sxm")
        if like not in known:
            remedy = f"expected one of {', '.join(sorted(known))}"
            raise InputError(system.name, f"no measured system {like!r}", remedy)
        curve = known[like][CURVE_OF.get(op, op)]
        measured = like == system.measured_as and way.nodes == 1 and op not in CURVE_OF
        spread = curve.spread
        if not measured:  # what starts were changed by is itself as uncertain as it is large
            changed = math.log(_ratios(system.device, like)[0])
            spread = max(spread, math.hypot(curve.spec_spread, changed))
            if leg and leg.tier.kind not in NVLINKS:
                spread = max(spread, NETWORK_SPREAD)
        if way.nodes > 1:
            spread = max(spread, NETWORK_SPREAD)
        ways = _ways(op, way, leg, _own(curve, like, leg, system), system.nvls) if way.gpus > 1 else [NO_WAY]
        found.append(Tried(tuple(ways), "measured" if measured else "spec-only", like, spread))
    return found


def timed(
    op: str, system: System, way: Route, size: float, fitted: dict[str, dict[str, Curve]] | None = None
) -> Forecast:
    """Time of `op` over `size` bytes by a group of GPUs whose route is known."""
    legs = tried(op, system, way, fitted)
    if size == 0 or way.gpus == 1:
        return Forecast(0.0, 0.0, 0.0, "none", "none", legs[0].basis, legs[0].reference)
    fastest = [min((float(seconds(one, size)), one.algorithm, one.protocol) for one in leg.ways) for leg in legs]
    (spent, algorithm, protocol), leg = max(zip(fastest, legs), key=lambda found: found[0][0])
    latency, reach = spent * 1e3, math.exp(leg.spread)
    return Forecast(latency, latency / reach, latency * reach, algorithm, protocol, leg.basis, leg.reference)


def _own(curve: Curve, like: str, leg: Leg | None, system: System) -> Curve:
    """The curve of the measured system `like`, adapted to the GPUs of `system`; over PCIe unchanged."""
    if like == system.measured_as or (leg and leg.tier.kind not in NVLINKS):
        return curve
    start, share, nvls = _ratios(system.device, like)
    if start == share == nvls == 1:
        return curve

    def adapted(line: Line, rate: float) -> Line:
        return Line(line.protocol, line.latency_s * start, line.hop_s * start, line.efficiency * rate)

    switch = curve.nvls and adapted(curve.nvls, share * nvls)
    return replace(curve, lines=tuple(adapted(line, share) for line in curve.lines), nvls=switch)


@lru_cache(maxsize=64)
def _ratios(device: str, like: str) -> tuple[float, float, float]:
    """Ratios of `device` to the GPU of `like`: time to start, share of a link's rate, the same for NVLS."""
    known = load_system(like).device
    if device == known:
        return 1.0, 1.0, 1.0
    from tilecast.hardware.device_file import shipped_device  # not sooner: it imports pydantic

    own, other = (shipped_device(name) for name in (device, known))
    if own is None or other is None:  # a GPU nobody described: taken for that of `like`
        return 1.0, 1.0, 1.0
    mine, its = (next((link.kind for link in gpu.links if "nvlink" in link.kind), "") for gpu in (own, other))
    if not mine or not its:
        return 1.0, 1.0, 1.0

    def ratio(table: Mapping[str, float]) -> float:
        return table[mine] / table[its] if mine in table and its in table else 1.0

    delay = LINK_DELAY.get(mine, 1.0) / LINK_DELAY.get(its, 1.0)
    return other.clock_hz / own.clock_hz * delay, ratio(LINK_SHARE), ratio(NVLS_SHARE)


def _ways(op: str, way: Route, leg: Leg | None, curve: Curve, nvls: bool) -> Iterator[Way]:
    """Every way to run the operation, if `leg` were the only link of a node."""
    rate = leg.bytes_per_s if leg else math.inf
    inside = rate * (group_factor(curve, leg.tier.kind, way.local) if leg else 1.0)
    sent = port_share(op, way.gpus, leg.behind_port if leg else 1)
    switch = curve.nvls if nvls and op == "all_reduce" and leg and leg.tier.kind == "nvswitch" else None
    # of an all-reduce in the switch: a GPU sends its data once, and its share of the sum to all
    summed = switch and (1 + 1 / way.local, rate * switch.efficiency)
    if way.nodes == 1:
        for line in curve.lines:
            start = line.latency_s + line.hop_s * (way.gpus - 2)
            yield Way(start, sent, inside * line.efficiency, 0.0, math.inf, 0.0, "ring", line.protocol)
        if switch and summed:
            yield Way(switch.latency_s, *summed, 0.0, math.inf, 0.0, "nvls", "Simple")
        return
    # A ring passes every node's border once, and it flows: the narrowest place sets its rate, not the sum of all.
    leaving = way.local * (way.gpus - way.local) / way.gpus if op == "all_to_all" else sent
    steps = {"all_reduce": 2 * (way.nodes - 1), "all_to_all": 1, "send_recv": 1}.get(op, way.nodes - 1)
    depth = 2 * math.ceil(math.log2(way.nodes))
    for line in curve.lines:
        start, name = line.latency_s + line.hop_s * max(way.local - 2, 0), line.protocol
        within, out = inside * line.efficiency, way.node_bytes_per_s
        begun = start + steps * NETWORK_STEP_S[name]
        yield Way(begun, sent, within, leaving, out * NETWORK_SHARE[name], 0.0, "ring", name)
        if op == "all_reduce":  # up the tree and down again: each node sends all bytes twice
            begun = start + depth * TREE_STEP_S[name]
            yield Way(begun, 2.0, within, 2.0, out * TREE_SHARE[name], 0.0, "tree", name)
    if switch and summed:
        ends = (switch.latency_s, *summed, 2.0, way.node_bytes_per_s, depth * NVLS_TREE_STEP_S)
        yield Way(*ends, "nvls tree", "Simple")
