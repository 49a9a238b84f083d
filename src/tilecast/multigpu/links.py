"""Communication times of groups of equally spaced GPUs that all communicate at once; each is computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tilecast.base.arrays import Array
from tilecast.hardware.system import Route, System, route
from tilecast.multigpu.collectives import timed

Group = tuple[int, int, int, int]  # first GPU, stride, how many; GPUs in use, which hold such groups too


class Links:
    """The links of a system, every rate times `share`."""

    def __init__(self, system: System, share: float = 1.0) -> None:
        self.system = scaled(system, share)
        self._routes: dict[Group, Route] = {}
        self._times: dict[tuple[str, Group, float], Array] = {}

    def time(self, op: str, group: Group, size: float) -> Array:
        """Milliseconds (latency, low, high) of a collective in a group."""
        key = (op, group, size)
        if key not in self._times:
            if group[2] == 1 or size == 0:
                self._times[key] = np.zeros(3)
            else:
                found = timed(op, self.system, self._route(group), size)
                self._times[key] = np.array([found.latency_ms, found.low_ms, found.high_ms])
        return self._times[key]

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

    def hop(self, stride: int, ranks: int, used: int) -> Group:
        """The slowest step between neighbours of a chain: between two nodes where the chain leaves the first."""
        node = self.system.gpus_per_node
        if stride < node < stride * ranks:
            return ((node - 1) // stride * stride, stride, 2, used)
        return (0, stride, 2, used)


def scaled(system: System, share: float) -> System:
    """`system` with every link's rate times `share`."""
    if share == 1:
        return system
    tiers = tuple(replace(tier, bytes_per_s=tier.bytes_per_s * share) for tier in system.tiers)
    network = system.network
    if network is not None:
        network = replace(network, bytes_per_s=network.bytes_per_s * share)
    return replace(system, tiers=tiers, network=network)
