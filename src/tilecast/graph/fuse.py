"""Fusion as compilers and engines do it: chains of elementwise, normalisation and softmax kernels become one.

Engines also merge, in inference, products of the same input (queries, keys and values; gate and up).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tilecast.graph.kernels import Kernel, KernelGraph, Launch, Wire, fold

# What a chain may contain: per-element work, and reductions along the rows that the chain works on.
_MOVES = ("dropout", "cast", "embedding", "fill", "mask")
_ROW_REDUCTIONS = ("mean", "sum", "amax", "var")


def fuse(graph: KernelGraph, engine: bool = False) -> KernelGraph:
    """`graph` with every chain of fusible kernels as one kernel, whose bytes are its external reads and writes.

    A serving engine merges products of one input too; a compiler (`torch.compile`, the artifact's) does not.
    A kernel joins its consumer's chain if no other kernel of its phase reads what it wrote, and both run over
    the same elements, or over the same rows where one of them reduces. What a later phase reads is still written.
    """
    launches = graph.expand()
    if engine and graph.about["mode"] == "inference":
        launches = _merged_products(launches)
    readers: dict[int, set[int]] = defaultdict(set)
    for index, launch in enumerate(launches):
        for wire in launch.reads:
            readers[wire.tensor].add(index)

    parent = list(range(len(launches)))  # an earlier kernel points at the one it is fused into

    def last(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for index, launch in enumerate(launches):
        if not _fusible(launch.kernel):
            continue
        users = {user for wire in launch.writes for user in readers[wire.tensor] if user > index}
        here = [user for user in users if launches[user].kernel.phase == launch.kernel.phase]
        if len(here) == 1 and _fusible(launches[here[0]].kernel) and _aligned(launch, launches[here[0]]):
            parent[index] = here[0]
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(launches)):
        groups[last(index)].append(index)
    fused = [
        _merged([launches[i] for i in members], set(members), readers) if len(members) > 1 else launches[root]
        for root, members in sorted(groups.items())
    ]
    return fold({**graph.about, "fused": True}, fused)


def _merged_products(launches: Sequence[Launch]) -> list[Launch]:
    """Launches with products of one module and one input as one product, its outputs side by side."""
    found: list[Launch] = []
    places: dict[tuple[Any, ...], int] = {}
    for launch in launches:
        kernel, (parent, _, _) = launch.kernel, launch.module.rpartition(".")
        key = (parent, kernel.family, kernel.op, kernel.phase, kernel.dtype, kernel.b, kernel.m, kernel.k)
        place = places.get(key) if parent and kernel.family == "linear" else None
        shared = {wire.tensor for wire in found[place].reads} & {w.tensor for w in launch.reads} if place else ()
        if place is None or len(shared) != 1:
            places[key] = len(found)
            found.append(launch)
            continue
        first = found[place]
        wide = first.kernel._replace(
            n=first.kernel.n + kernel.n,
            flops=first.kernel.flops + kernel.flops,
            bytes_read=first.kernel.bytes_read + sum(w.size_bytes for w in launch.reads if w.tensor not in shared),
            bytes_written=first.kernel.bytes_written + kernel.bytes_written,
        )
        reads = (*first.reads, *(wire for wire in launch.reads if wire.tensor not in shared))
        found[place] = Launch(wide, first.module, reads, (*first.writes, *launch.writes))
    return found


def _fusible(kernel: Kernel) -> bool:
    if kernel.phase in ("accumulation", "optimizer"):
        return False
    if kernel.family == "memory":
        return kernel.op in _MOVES and (kernel.op != "embedding" or kernel.phase == "forward")
    if kernel.family == "other":
        return kernel.op in _ROW_REDUCTIONS and kernel.phase == "forward"
    if kernel.family in ("norm", "softmax"):
        return kernel.phase == "forward"
    return kernel.family == "elementwise"


def _aligned(producer: Launch, consumer: Launch) -> bool:
    """Whether the consumer, running over its elements, meets each of the producer's results where it needs it."""
    made, used = producer.kernel, consumer.kernel
    results = made.b if made.family == "other" else made.b * made.m
    return results == used.b * used.m or (results == used.b and used.m > 1)


def _merged(members: Sequence[Launch], indices: set[int], readers: dict[int, set[int]]) -> Launch:
    """The one kernel that does what `members` do, at the place of the last of them."""
    made = {wire.tensor for launch in members for wire in launch.writes}
    reads: dict[int, Wire] = {}
    for launch in members:
        for wire in launch.reads:
            if wire.tensor not in made:
                known = reads.get(wire.tensor, wire)
                reads[wire.tensor] = max(known, wire, key=lambda w: w.size_bytes)
    writes = [
        wire
        for launch in members
        for wire in launch.writes
        if readers[wire.tensor] - indices or not readers[wire.tensor]
    ]
    kernels = [launch.kernel for launch in members]
    shape = max(reversed(kernels), key=lambda kernel: kernel.b * kernel.m)
    ops = [kernel.op for kernel in kernels]
    families = {kernel.family for kernel in kernels}
    if "norm" in families or {"mean", "rsqrt"} <= set(ops):
        family = "norm"
    else:
        family = next(name for name in ("softmax", "elementwise", "other", "memory") if name in families)
    kernel = shape._replace(
        family=family,
        op="+".join(ops),
        operands=sum(wire.size_bytes > 8 for wire in reads.values()),
        flops=sum(kernel.flops for kernel in kernels),
        bytes_read=sum(wire.size_bytes for wire in reads.values()),
        bytes_written=sum(wire.size_bytes for wire in writes),
    )
    return Launch(kernel, members[-1].module, tuple(reads.values()), tuple(writes))
