"""Rates at which a host copies to and from its GPU: as published, or bounded by limits that leave something open.

pinned: rate = share x PCIe's peak, from the other socket min(rate / slowdown, socket links / GPUs at once);
pageable: the CPU stages the copy, which the host waits for (as CUDA's API documents), so a byte takes as long as
staging and, unless that hides it, longer by what crossing the sockets adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any

import pandas as pd

BOTH_WAYS = "both_ways_share"
OPEN = "open"  # the host of which nothing but its GPUs and sockets is known
OPEN_GPU = "L40S"  # the guide's, as its author's later summary names it


@dataclass(frozen=True)
class Rates:
    """What copies reach from one node, and what happens meanwhile."""

    in_bytes_per_s: float
    out_bytes_per_s: float
    both_ways_share: float = 1.0  # of its rate, that each way keeps while the other copies too
    waits: bool = False  # the host waits for every copy


@dataclass(frozen=True)
class Host:
    """A described host; of `cases` (rates from the local and the remote node) the first is the middle."""

    name: str
    gpu: str
    memory: str  # pinned, pageable
    copies_from: str
    cases: tuple[tuple[Rates, Rates], ...]


def described_hosts(hosts: pd.DataFrame, limits: pd.DataFrame) -> list[Host]:
    """Hosts whose rates are all known, then the open one with pinned and with pageable memory."""
    ends = {row["quantity"]: (row["low"], row["high"]) for row in limits.to_dict("records")}
    known = hosts.dropna(subset=[name for name in hosts.columns if name.endswith("_per_s")])
    found = [_published(row, ends[BOTH_WAYS]) for row in known.to_dict("records")]
    return [*found, *(_open(ends, memory) for memory in ("pinned", "pageable"))]


def _published(row: Mapping[Any, Any], both_ways: tuple[float, float]) -> Host:
    def rates(node: str, share: float) -> Rates:
        into, out = (float(row[f"{way}_{node}_bytes_per_s"]) for way in ("h2d", "d2h"))
        return Rates(into, out, share)

    cases = tuple((rates("local", share), rates("remote", share)) for share in (_middle(both_ways), *both_ways))
    return Host(row["host"], row["gpu"], "pinned", row["passport"], cases)


def _open(ends: Mapping[str, tuple[float, float]], memory: str) -> Host:
    """The host of which little is stated: the middle of every limit, then all combinations of their ends."""
    names = [name for name in ends if memory == "pageable" or not name.startswith("pageable")]
    cases = [
        _bounded(dict(zip(names, values)))
        for values in [[_middle(ends[name]) for name in names], *product(*({*ends[name]} for name in names))]
    ]
    return Host(OPEN, OPEN_GPU, memory, "assumed", tuple(cases))


def _bounded(limit: Mapping[str, float]) -> tuple[Rates, Rates]:
    """Rates from the local and from the remote node."""
    local = limit["pcie_share"] * limit["pcie_bytes_per_s"]
    sockets = limit["socket_bytes_per_s"] / limit["gpus_at_once"]
    here, waits = local, "pageable_bytes_per_s" in limit
    away = [min(local / limit[f"remote_slowdown_{way}"], sockets) for way in ("in", "out")]
    if waits:
        here = min(limit["pageable_bytes_per_s"], local)
        away = [_staged(here, local, remote, limit["pageable_hidden"]) for remote in away]
    return Rates(here, here, limit[BOTH_WAYS], waits), Rates(away[0], away[1], limit[BOTH_WAYS], waits)


def _staged(here: float, local: float, remote: float, hidden: float) -> float:
    """Rate of a staged copy from the remote node, where `hidden` is the share of crossing that staging hides."""
    in_turn = 1 / here + max(0.0, 1 / remote - 1 / local)
    return 1 / (hidden * max(1 / here, 1 / remote) + (1 - hidden) * in_turn)


def _middle(ends: tuple[float, float]) -> float:
    """The geometric one; of a share that may be nothing, the mean."""
    return sqrt(ends[0] * ends[1]) if ends[0] > 0 else sum(ends) / 2
