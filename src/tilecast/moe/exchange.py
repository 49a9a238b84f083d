"""Time and bytes of sending tokens to their experts and back (dispatch and combine) on a described system.

There are two kernels. The low-latency kernel sends a token to each of its experts. The high-throughput kernel
sends it once to each GPU that holds one of them, and between nodes once to each node, which forwards it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tilecast.hardware.system import System
from tilecast.moe.model import ACTIVATION_BYTES
from tilecast.moe.stream import ranks_touched
from tilecast.multigpu.collectives import collective

LOW_LATENCY, HIGH_THROUGHPUT = "low latency", "high throughput"
LOW_LATENCY_TOKENS = 128  # a GPU: what the low-latency kernels of DeepEP are made and measured for
FP8_ELEMENT_BYTES = 1 + 4 / 128  # one byte, and an fp32 scale for every 128


@dataclass(frozen=True)
class Exchange:
    """One layer's exchange: time of each direction, and the bytes a GPU sends to others in both."""

    dispatch_ms: float
    combine_ms: float
    sent_bytes: float

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
    """`tokens` of each GPU of `group` go to `top_k` of `experts` and return; `imbalance` is the busiest GPU's.

    `others`: groups that do the same at the same time. `groups`: the number of expert groups, and in how many of
    them a token's experts lie. One GPU alone sends nothing.
    """
    ranks = len(group)
    if ranks == 1 or tokens == 0:
        return Exchange(0.0, 0.0, 0.0)
    kernel = kernel or (LOW_LATENCY if tokens <= LOW_LATENCY_TOKENS else HIGH_THROUGHPUT)
    copies = top_k if kernel == LOW_LATENCY else reached(ranks, top_k, experts, groups)
    elements = tokens * copies * hidden * imbalance
    nodes = len({gpu // system.gpus_per_node for gpu in group})
    times = []
    for element_bytes in (dispatch_bytes, combine_bytes):
        if kernel == HIGH_THROUGHPUT and nodes > 1:
            once = tokens * reached(nodes, top_k, experts, groups) * hidden * imbalance
            times.append(_by_node_ms(system, group, once * element_bytes, elements * element_bytes))
        else:
            times.append(collective("all_to_all", system, group, elements * element_bytes, others).latency_ms)
    sent = elements * (dispatch_bytes + combine_bytes) * (ranks - 1) / ranks
    return Exchange(times[0], times[1], sent)


def reached(ranks: int, top_k: int, experts: int, groups: tuple[int, int]) -> float:
    """Expected GPUs (or nodes) that one token reaches when its experts lie in some of the expert groups."""
    all_groups, chosen = groups
    if ranks > all_groups:
        return ranks_touched(ranks * chosen // all_groups, top_k, experts * chosen // all_groups)
    if chosen < all_groups:  # a GPU holds whole groups, and a chosen group has at least one of the experts
        return ranks_touched(ranks, chosen, all_groups)
    return ranks_touched(ranks, top_k, experts)


def _by_node_ms(system: System, group: Sequence[int], between_bytes: float, within_bytes: float) -> float:
    """Time when GPUs at the same place of each node exchange over the network while each node forwards."""
    places: dict[int, list[int]] = {}
    nodes: dict[int, list[int]] = {}
    for gpu in group:
        places.setdefault(gpu % system.gpus_per_node, []).append(gpu)
        nodes.setdefault(gpu // system.gpus_per_node, []).append(gpu)
    rail, *other_rails = places.values()
    network = collective("all_to_all", system, rail, between_bytes, other_rails).latency_ms
    return max(network, collective("all_to_all", system, next(iter(nodes.values())), within_bytes).latency_ms)
