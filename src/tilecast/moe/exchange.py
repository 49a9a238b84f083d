"""Tokens on their way to experts and back: bytes and time of dispatch and combine on a described system.

Two ways of sending, as the kernels in use have them: low latency sends a token to each of its experts, high
throughput once to each rank that holds one of them (and across nodes once to each node, which hands it on).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilecast.hardware.system import System
from tilecast.moe.model import ACTIVATION_BYTES
from tilecast.moe.routing import ranks_touched
from tilecast.multigpu.collectives import collective

LOW_LATENCY, HIGH_THROUGHPUT = "low latency", "high throughput"
LOW_LATENCY_TOKENS = 128  # a GPU: what the low-latency kernels of DeepEP are made and measured for
FP8_ELEMENT_BYTES = 1 + 4 / 128  # one byte, and an fp32 scale for every 128


@dataclass(frozen=True)
class Exchange:
    """One layer: time of either way, and the bytes a GPU sends in both (to others, not to itself)."""

    dispatch_ms: float
    combine_ms: float
    sent_bytes: float
    kernel: str

    @property
    def total_ms(self) -> float:
        """Dispatch and combine."""
        return self.dispatch_ms + self.combine_ms


def exchange(
    system: System,
    group: Sequence[int],
    tokens: float,
    *,
    hidden: int,
    top_k: int,
    experts: int,
    others: Sequence[Sequence[int]] = (),
    dispatch_bytes: float = ACTIVATION_BYTES,
    combine_bytes: float = ACTIVATION_BYTES,
    imbalance: float = 1.0,
    kernel: str | None = None,
    groups: tuple[int, int] = (1, 1),
) -> Exchange:
    """`tokens` of each GPU of `group` go to `top_k` of `experts` and return; `imbalance` is the busiest rank's.

    `others` are groups that do the same at the same time. `groups`: how many groups experts come in, and in how
    many of them a token's experts lie. One GPU keeps its tokens: nothing is sent.
    """
    ranks = len(group)
    kernel = kernel or (LOW_LATENCY if tokens <= LOW_LATENCY_TOKENS else HIGH_THROUGHPUT)
    if ranks == 1 or tokens == 0:
        return Exchange(0.0, 0.0, 0.0, kernel)
    copies = top_k if kernel == LOW_LATENCY else reached(ranks, top_k, experts, groups)
    elements = tokens * copies * hidden * imbalance
    times = []
    for element_bytes in (dispatch_bytes, combine_bytes):
        nodes = len({gpu // system.gpus_per_node for gpu in group})
        if kernel == HIGH_THROUGHPUT and nodes > 1:
            once = tokens * reached(nodes, top_k, experts, groups) * hidden * imbalance
            times.append(_by_node(system, group, once * element_bytes, elements * element_bytes))
        else:
            times.append(collective("all_to_all", system, group, elements * element_bytes, others).latency_ms)
    sent = elements * (dispatch_bytes + combine_bytes) * (ranks - 1) / ranks
    return Exchange(times[0], times[1], sent, kernel)


def reached(ranks: int, top_k: int, experts: int, groups: tuple[int, int]) -> float:
    """Ranks, or nodes, that one token reaches when its experts lie in some of the `groups`."""
    all_groups, chosen = groups
    if ranks <= all_groups:  # a rank holds whole groups, and a chosen group has at least one of the experts
        return (
            ranks_touched(ranks, chosen, all_groups)
            if chosen < all_groups
            else ranks_touched(ranks, top_k, experts)
        )
    return ranks_touched(ranks * chosen // all_groups, top_k, experts * chosen // all_groups)


def _by_node(system: System, group: Sequence[int], between: float, within: float) -> float:
    """Once to each node over the network, GPUs of the same place with each other; handed on within. Both flow."""
    places: dict[int, list[int]] = {}
    nodes: dict[int, list[int]] = {}
    for gpu in group:
        places.setdefault(gpu % system.gpus_per_node, []).append(gpu)
        nodes.setdefault(gpu // system.gpus_per_node, []).append(gpu)
    rails, rooms = list(places.values()), list(nodes.values())
    network = collective("all_to_all", system, rails[0], between, rails[1:]).latency_ms
    return max(network, collective("all_to_all", system, rooms[0], within).latency_ms)
