"""A kernel, and a model's kernels in the order they run; identical layers are stored once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

MATRIX_FAMILIES = ("linear", "bmm", "conv", "attention")  # whose FLOPs the closed forms count


class Kernel(NamedTuple):
    """One launch. Matrix product: (b, m, k) x (b, k, n); `linear`: m tokens, k inputs, n outputs, b = 1.

    Attention: b = batch x heads, m queries, n keys, k head width. Anything else: b rows of m elements, n = k = 0.
    """

    family: str
    op: str
    phase: str
    dtype: str
    b: int
    m: int
    n: int
    k: int
    operands: int  # input tensors of more than one element
    flops: int
    bytes_read: int
    bytes_written: int


class Wire(NamedTuple):
    """A tensor at a kernel's side: which one, and how many bytes of it are moved."""

    tensor: int
    size_bytes: int


class Launch(NamedTuple):
    """One entry of the full list: the kernel, the module that launched it, the tensors it reads and writes."""

    kernel: Kernel
    module: str
    reads: tuple[Wire, ...]
    writes: tuple[Wire, ...]


Block = tuple[tuple[Kernel, str], ...]  # kernels a layer launches in a row, each with its module's path below it


@dataclass(frozen=True)
class KernelGraph:
    """A model's kernels: distinct `blocks`, the `order` (block, layer path) they run in, and the wires between."""

    about: dict[str, Any]  # model, mode, phase, sequence_length, ..., parameters: how it was traced
    blocks: tuple[Block, ...]
    order: tuple[tuple[int, str], ...]
    wires: tuple[tuple[tuple[Wire, ...], tuple[Wire, ...]], ...]  # (reads, writes) of every kernel as it runs

    def launches(self) -> Iterator[tuple[Kernel, str]]:
        """Every kernel in the order it runs, with its module's path."""
        for index, prefix in self.order:
            for kernel, below in self.blocks[index]:
                yield kernel, f"{prefix}.{below}" if prefix and below else prefix or below

    def expand(self) -> list[Launch]:
        """The full list: as many entries as kernels run."""
        return [Launch(*launch, *wires) for launch, wires in zip(self.launches(), self.wires, strict=True)]

    def kernels(self) -> pd.DataFrame:
        """The `kernel_list` table: one row per distinct kernel and module, with how often it runs.

        Layer numbers in `module` are written `*`; `layer` lists them. FLOPs and bytes are of one run.
        """
        import pandas as pd

        counts: Counter[tuple[Kernel, str]] = Counter()
        layers: dict[tuple[Kernel, str], set[int]] = defaultdict(set)
        for kernel, module in self.launches():
            key = (kernel, _NUMBER.sub("*", module))
            counts[key] += 1
            if number := _NUMBER.search(module):
                layers[key].add(int(number.group()))
        rows = [(*key[0], count, key[1], _ranges(layers[key])) for key, count in counts.items()]
        return pd.DataFrame(rows, columns=[*Kernel._fields, "count", "module", "layer"])

    def total(self, *families: str, phase: str | None = None) -> int:
        """FLOPs of all kernels of `families` (of every family where none is named), in one phase or all."""
        return sum(
            kernel.flops
            for kernel, _ in self.launches()
            if (not families or kernel.family in families) and phase in (None, kernel.phase)
        )

    def summary(self) -> dict[str, Any]:
        """Parameters, FLOPs, bytes, kernels by class and phase, and arithmetic intensity."""
        groups: dict[str, dict[str, dict[str, int]]] = {"families": {}, "phases": {}}
        whole = dict.fromkeys(("kernels", "flops", "bytes_read", "bytes_written"), 0)
        for kernel, _ in self.launches():
            targets = (
                whole,
                groups["families"].setdefault(kernel.family, dict.fromkeys(whole, 0)),
                groups["phases"].setdefault(kernel.phase, dict.fromkeys(whole, 0)),
            )
            for target in targets:
                target["kernels"] += 1
                target["flops"] += kernel.flops
                target["bytes_read"] += kernel.bytes_read
                target["bytes_written"] += kernel.bytes_written
        moved = whole["bytes_read"] + whole["bytes_written"]
        return {
            **self.about,
            **whole,
            "matrix_flops": self.total(*MATRIX_FAMILIES),
            "flops_per_byte": round(whole["flops"] / moved, 4) if moved else 0.0,
            "kernels_stored": sum(map(len, self.blocks)),
            **groups,
        }


_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # a path's component that is a number: a place in a list of layers


def fold(about: dict[str, Any], launches: Sequence[Launch]) -> KernelGraph:
    """Store `launches` with identical layers once.

    A layer is what runs below one numbered module. Two are identical when they launch equal kernels from equal
    places in the same order; nothing is inferred from their classes. In nested lists (stages of layers) the
    outer or the inner number is taken as the layer, whichever stores fewer kernels.
    """
    candidates = [_folded(launches, depth) for depth in (1, 2)]
    blocks, order = min(candidates, key=lambda found: sum(map(len, found[0])))
    return KernelGraph(about, blocks, order, tuple((launch.reads, launch.writes) for launch in launches))


def _folded(launches: Sequence[Launch], depth: int) -> tuple[tuple[Block, ...], tuple[tuple[int, str], ...]]:
    known: dict[Block, int] = {}
    order: list[tuple[int, str]] = []
    run: list[tuple[Kernel, str]] = []
    current: str | None = None

    def close() -> None:
        if run and current is not None:
            order.append((known.setdefault(tuple(run), len(known)), current))
            run.clear()

    prefixes: dict[str, str] = {}
    for launch in launches:
        prefix = prefixes.get(launch.module)
        if prefix is None:
            prefix = prefixes[launch.module] = _layer(launch.module, depth)
        if prefix != current:
            close()
            current = prefix
        run.append((launch.kernel, launch.module[len(prefix) :].lstrip(".")))
    close()
    return tuple(known), tuple(order)


def _layer(module: str, depth: int) -> str:
    """The path up to its `depth`-th number, or to its last where it has fewer; empty where it has none."""
    ends = [match.end() for match in _NUMBER.finditer(module)][:depth]
    return module[: ends[-1]] if ends else ""


def _ranges(numbers: set[int]) -> str:
    """Numbers as text: `0-3,7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
