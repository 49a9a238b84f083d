"""One GPU's share of a model's kernels: the model is divided by tensor and expert parallelism, then traced.

A few layers are traced, which must launch the same kernels, and one stands for all.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import NamedTuple

from tilecast.base.errors import InputError, Uncut
from tilecast.graph.kernels import Kernel
from tilecast.graph.source import kernel_graph
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.models.architecture import SCANS, layer_kinds, of_kind
from tilecast.models.workload import Workload
from tilecast.multigpu.layout import Layout

_CORE = ("bmm", "softmax", "attention")
_PARTS = ("first", "layer", "last")


Counted = list[tuple[Kernel, float]]


class Shape(NamedTuple):
    """What decides the kernels of one microbatch on one GPU."""

    tp: int
    ep: int
    cp: int
    microbatch: int
    sequence_parallel: bool

    @classmethod
    def of(cls, layout: Layout) -> Shape:
        """The shape a layout needs."""
        return cls(layout.tp, layout.ep, layout.cp, layout.microbatch, layout.sequence_parallel)


@dataclass(frozen=True)
class Share:
    """Kernels of one microbatch on one GPU, as they run, by part of the model and phase, with a count each.

    Parts: first (before the layers), layer (one of them), last (after them). Two phases stand beside the step's:
    `core`, the forward pass of attention's inner part, which `forward` contains; `copies`, gradients copied into
    buckets and back, as PyTorch's DDP does (one kernel a parameter each way).
    """

    kernels: dict[tuple[str, str], Counted]


Launches = list[tuple[Kernel, str]]
Traces = dict[tuple[str, int, int, int, int], Launches]  # (kind, tp, ep, cp, microbatch) -> what was traced


def share(work: Workload, shape: Shape, traces: Traces | None = None) -> Share:
    """The kernels of `work` on one GPU of `shape`; `traces` keeps what was traced, for other shapes.

    Of layers of several kinds each is traced in a model of its own, and `layer` is their mean.

    Every size of a kernel grows evenly with the microbatch, so two traces tell all (of experts, tokens are shared
    out anew: each microbatch is traced). A single sequence runs some operations differently and is always traced.
    """
    if work.phase == "decode" and shape.cp > 1:
        raise InputError("cp", "decode with context parallelism is not modelled", "use cp 1 to serve")
    if work.architecture.scanning and (shape.cp > 1 or work.mode == "training"):
        which = "context parallelism" if shape.cp > 1 else "training"
        problem = f"has layers of kind {SCANS}, whose {which} is not modelled"
        raise Uncut(work.spec.source, problem, "ask for inference with cp 1")
    traces = {} if traces is None else traces
    kinds = layer_kinds(work.spec)
    if len(set(kinds)) == 1:
        return _equal(work, shape, traces)
    shares = {
        kind: _equal(replace(work, spec=of_kind(work.spec, kind)), shape, traces, str(kind)) for kind in kinds
    }
    found: dict[tuple[str, str], Counted] = defaultdict(list)
    for kind, often in Counter(kinds).items():  # the mean layer, its kernels by their kind's share of all layers
        for (part, phase), kernels in shares[kind].kernels.items():
            if part == "layer":
                found[part, phase] += [(kernel, count * often / len(kinds)) for kernel, count in kernels]
    for part, kind in (("first", kinds[0]), ("last", kinds[-1])):
        found |= {key: kernels for key, kernels in shares[kind].kernels.items() if key[0] == part}
    return Share(dict(found))


def _equal(work: Workload, shape: Shape, traces: Traces, kind: str = "") -> Share:
    """The share of a model with layers of one kind."""

    def at(microbatch: int) -> Launches:
        key = (kind, shape.tp, shape.ep, shape.cp, microbatch)
        if key not in traces:
            traces[key] = _traced(work, *key[1:])
        return traces[key]

    if shape.microbatch <= 3 or work.architecture.experts:
        return _sorted(work, shape, at(shape.microbatch))
    return _sorted(work, shape, _grown(at(2), at(3), shape.microbatch - 2))


def _grown(two: Launches, three: Launches, more: int) -> Launches:
    """Launches of 2 + `more` sequences, from those of two and of three."""
    grown = []
    for (kernel, module), (next_kernel, _) in zip(two, three, strict=True):
        sizes = (low + more * (high - low) for low, high in zip(kernel[4:], next_kernel[4:], strict=True))
        grown.append((Kernel(*kernel[:4], *sizes), module))
    return grown


def _layer_count(work: Workload) -> int:
    """Layers to trace: chains of fused kernels reach into the next layer, so then the inner two are compared."""
    return 4 if work.fused else 2


def _traced(work: Workload, tp: int, ep: int, cp: int, microbatch: int) -> Launches:
    from tilecast.graph.fuse import fuse

    graph = kernel_graph(
        work.spec.shortened(_layer_count(work)),
        mode=work.mode,
        phase=work.phase,
        sequence_length=None if work.phase == "decode" else work.sequence_length // cp,
        batch_size=microbatch,
        context=work.context,
        dtype=work.dtype,
        attention=work.attention,
        optimizer=work.optimizer,
        tp=tp,
        ep=ep,
    )
    return list((fuse(graph, engine=True) if work.fused else graph).launches())


def _sorted(work: Workload, shape: Shape, launches: Launches) -> Share:
    """Launches by part and phase; layers compared, sequence and context parallelism applied."""
    layers = _layer_count(work)
    lists: dict[tuple[str, str], Counted] = defaultdict(list)
    parts, cores = _part_of(work, launches), _cores(work, shape, launches)
    for (kernel, _), part, core in zip(launches, parts, cores, strict=True):
        phase = "backward" if kernel.phase == "accumulation" else kernel.phase
        core = core and part not in ("first", "last")
        times = shape.cp if core else 1
        kernel = _local(kernel, work, shape)
        lists[part, phase].append((kernel, times))
        if core and phase == "forward":
            lists[part, "core"].append((kernel, times))
        if kernel.phase == "accumulation":
            copy = kernel._replace(family="memory", op="copy", phase="backward", operands=1, flops=0)
            lists[part, "copies"].append((copy._replace(bytes_read=kernel.bytes_written), 2))  # in and out
    found: dict[tuple[str, str], Counted] = {}
    one, other, end = str((layers - 1) // 2), str(layers // 2), str(layers - 1)
    for phase in sorted({phase for _, phase in lists}):
        layer = _counter(lists[one, phase])
        if layer != _counter(lists[other, phase]):
            raise Uncut(work.spec.source, "its layers differ", "multi-GPU forecasts need equal layers")
        found["layer", phase] = lists[one, phase]
        for part, nearest in (("first", "0"), ("last", end)):
            more = _counter(lists[nearest, phase])  # what an outer layer has more or less than an inner one
            more.subtract(layer)
            found[part, phase] = lists[part, phase] + [(kernel, count) for kernel, count in more.items() if count]
    return Share(found)


def _counter(rows: Counted) -> Counter[Kernel]:
    counts: Counter[Kernel] = Counter()
    for kernel, times in rows:
        counts[kernel] += int(times)  # of one kind of layer, counts are whole
    return counts


def _part_of(work: Workload, launches: Launches) -> list[str]:
    """A layer's number for its launches; else first or last, by order in each phase, or by module."""
    paths = (re.match(r"(.+?)\.\d+(?:\.|$)", module) for _, module in launches)
    layers = next((path[1] for path in paths if path), None)
    if layers is None:
        raise Uncut(work.spec.source, "has no numbered layers", "multi-GPU forecasts need equal layers")
    numbered = re.compile(rf"{re.escape(layers)}\.(\d+)(?:\.|$)")
    found: list[str] = []
    seen = {"forward": False, "backward": False}
    homes: dict[str, str] = {}
    for kernel, module in launches:
        phase = "backward" if kernel.phase == "accumulation" else kernel.phase
        if layer := numbered.match(module):
            part = layer[1]
            seen[phase] = True
        elif phase == "forward":
            part = "last" if seen["forward"] else "first"
            homes.setdefault(module, part)
        elif phase == "backward":
            part = "first" if seen["backward"] else "last"
        else:
            part = homes.get(module, "last")
        found.append(part)
    return found


def _cores(work: Workload, shape: Shape, launches: Launches) -> list[bool]:
    """Which launches are of attention's inner part: its products, and what runs on a score for each key.

    Where there are as many tokens as a head is wide, keys have the size of scores; with half the tokens, not.
    """
    if work.sequence_length // shape.cp == work.architecture.head_dim:
        work = replace(work, sequence_length=work.sequence_length // 2)
        launches = _traced(work, shape.tp, shape.ep, shape.cp, shape.microbatch)
    tokens = work.sequence_length // shape.cp
    rows = shape.microbatch * work.architecture.heads // shape.tp * tokens
    return [
        kernel.family in _CORE or (not kernel.n and (kernel.b, kernel.m) == (rows, tokens))
        for kernel, _ in launches
    ]


def mixed(kernel: Kernel, work: Workload) -> Kernel:
    """An optimizer's kernel under mixed precision.

    Gradients are made fp32, unscaled, their norm taken, clipped; then each state and the fp32 weights are read and
    written, and the weights written once more as they are used.
    """
    size = ELEMENT_BYTES[work.dtype]
    if kernel.phase != "optimizer" or size == 4 or not work.mixed:
        return kernel
    states = 4 * kernel.bytes_written // (kernel.m * size)
    read, written = size + 4 + 4 + 4 + 4 + states, 4 + 4 + 4 + states + size
    return kernel._replace(bytes_read=kernel.m * read, bytes_written=kernel.m * written)


def _local(kernel: Kernel, work: Workload, shape: Shape) -> Kernel:
    """The kernel under sequence parallelism and mixed precision."""
    if kernel.phase == "optimizer":
        return mixed(kernel, work)
    tokens = shape.microbatch * work.sequence_length // shape.cp
    if not shape.sequence_parallel or kernel.n or tokens not in (kernel.b, kernel.m):
        return kernel
    if kernel.b * kernel.m != tokens * work.architecture.hidden:
        return kernel
    rows = kernel.b == tokens
    return kernel._replace(
        b=kernel.b // shape.tp if rows else kernel.b,
        m=kernel.m if rows else kernel.m // shape.tp,
        flops=kernel.flops // shape.tp,
        bytes_read=kernel.bytes_read // shape.tp,
        bytes_written=kernel.bytes_written // shape.tp,
    )
