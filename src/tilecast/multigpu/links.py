"""Communication times of groups of equally spaced GPUs that all communicate at once, of many groups at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.system import Route, System, route
from tilecast.multigpu.collectives import LONG_WAY, seconds, tried

Group = tuple[int, int, int, int]  # first GPU, stride, how many; GPUs in use, which hold such groups too
Groups = tuple[Any, Any, Any, Any]  # the same, each a number or an array of them
_NUMBERS = 6  # of a Way
_MOST_WAYS = 9  # four lines of a curve, each as a ring and as a tree, and the switch


class Links:
    """The links of a system, every rate times `share`; the ways of a collective in a group are found once."""

    def __init__(self, system: System, share: float = 1.0) -> None:
        self.system = scaled(system, share)
        self._routes: dict[Group, Route] = {}
        self._rows: dict[tuple[Any, ...], int] = {}  # operation and group -> row; 0: takes no time
        legs = max(1, len(system.tiers))
        self._ways = np.zeros((_NUMBERS, legs, _MOST_WAYS, 1))  # number, leg, way, row
        self._ways[[2, 4]] = math.inf
        self._reach = np.ones((legs, 1))  # leg, row
        self._once = lru_cache(maxsize=4096)(self._one)

    def time(self, op: Any, groups: Groups, size: Any, where: Any = True, ends: int = 3) -> Array:
        """Milliseconds (latency, low, high: the first `ends` of these) of collectives of `size` bytes in groups.

        The last of the one or two axes of sizes is that of the groups. No time passes but
        `where` asked for, in a group of one GPU, and where nothing is sent.
        """
        size = size if isinstance(size, np.ndarray) and size.ndim else np.atleast_1d(size)
        if size.shape[-1] == 1:  # one layout: it, or one like it, may have been asked for before
            row = self._row_of(
                *[part.item() if isinstance(part, np.ndarray) else part for part in (where, op, *groups)]
            )
            found = self._once(row, tuple(size.ravel().tolist()), ends) if row else np.zeros((ends, size.size))
            return found.reshape(ends, *size.shape)
        rows = self._rows_of(size.shape[-1], op, *groups, where)
        return self._timed(rows, size, ends) if any(rows) else np.zeros((ends, *size.shape))

    def _row_of(self, able: bool, *key: Any) -> int:
        """Where the ways of an operation in a group stand in the table: 0 where no time passes."""
        return (self._rows.get(key) or self._added(key)) if able and key[3] > 1 else 0

    def _one(self, row: int, sizes: tuple[float, ...], ends: int) -> Array:
        return self._timed([row], np.array(sizes)[:, None], ends)

    def _timed(self, rows: list[int], size: Array, ends: int) -> Array:
        ways = self._ways[..., rows]
        legs = seconds(ways if size.ndim == 1 else ways[:, :, :, None], size, np.maximum).min(axis=1)
        latency = np.where(size > 0, legs.max(axis=0) * 1e3, 0.0)
        if ends == 1:
            return latency[None]
        reach = self._reach[legs.argmax(axis=0), rows]
        return np.stack([latency, latency / reach, latency * reach])

    def _rows_of(self, count: int, *asked: Any) -> list[int]:
        """The same of many operations and groups."""
        *parts, able = (part.tolist() if isinstance(part, np.ndarray) else [part] * count for part in asked)
        found: list[Any] = list(map(self._rows.get, zip(*parts, strict=True)))
        if None in found:
            for place, key in enumerate(zip(*parts, strict=True)):
                if found[place] is None:
                    found[place] = self._row_of(able[place], *key)
        return found if all(able) else [row if asked else 0 for row, asked in zip(found, able, strict=True)]

    def _added(self, key: tuple[Any, ...]) -> int:
        row, legs = len(self._rows) + 1, tried(key[0], self.system, self._route(key[1:]))
        if row == self._ways.shape[-1]:  # room for twice as many
            self._ways, self._reach = (np.concatenate([table, table], -1) for table in (self._ways, self._reach))
        self._ways[..., row] = np.array(LONG_WAY[:_NUMBERS])[
            :, None, None
        ]  # a way not there is never the fastest,
        self._ways[0, len(legs) :, :, row] = -math.inf  # and a leg not there never the slowest
        for place, leg in enumerate(legs):
            self._ways[:, place, : len(leg.ways), row] = np.array([way[:_NUMBERS] for way in leg.ways]).T
            self._reach[place, row] = math.exp(leg.spread)
        self._rows[key] = row
        return row

    def _route(self, group: Group) -> Route:
        """The route of one group while all groups like it communicate at the same time."""
        if group not in self._routes:
            first, stride, ranks, used = group
            node, span = self.system.gpus_per_node, stride * ranks
            starts = [
                block + place for block in range(0, max(node, 1), span) for place in range(min(stride, node))
            ]
            others = [
                range(first + start, first + start + span, stride)
                for start in starts
                if start and first + start + span - stride < used
            ]
            self._routes[group] = route(self.system, range(first, first + span, stride), others)
        return self._routes[group]

    def hop(self, stride: Any, ranks: Any, used: Any) -> Groups:
        """The slowest step between neighbours of a chain: between two nodes where the chain leaves the first."""
        node = self.system.gpus_per_node
        leaves = (stride < node) & (node < stride * ranks)
        return np.where(leaves, (node - 1) // stride * stride, 0), stride, 2, used


def scaled(system: System, share: float) -> System:
    """`system` with every link's rate times `share`."""
    if share == 1:
        return system
    tiers = tuple(replace(tier, bytes_per_s=tier.bytes_per_s * share) for tier in system.tiers)
    network = system.network
    if network is not None:
        network = replace(network, bytes_per_s=network.bytes_per_s * share)
    return replace(system, tiers=tiers, network=network)
