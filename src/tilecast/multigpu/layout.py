"""A layout: how a transformer's work is divided among GPUs, and which divisions are possible."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool

from tilecast.base.errors import InputError
from tilecast.base.inputs import validated
from tilecast.base.limits import MOST
from tilecast.models.architecture import Architecture

SCHEDULES = ("gpipe", "1f1b", "interleaved")
RECOMPUTE = ("none", "selective", "full")
Ranks = Annotated[int, Field(strict=True, le=MOST["gpus"][0])]  # the limit of every number of a layout


@dataclass(frozen=True)
class Layout:
    """Ranks of each kind of parallelism and how a step runs on them; ranks are placed tp, cp, dp, pp, inner first.

    Expert parallelism lives inside data parallelism: `ep` divides `dp` and adds no GPUs.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    dp: Ranks = 1
    tp: Ranks = 1
    pp: Ranks = 1
    ep: Ranks = 1
    cp: Ranks = 1
    microbatch: Ranks = 1  # sequences
    schedule: str = "1f1b"
    interleave: Ranks = 1  # model chunks a stage holds
    recompute: str = "none"
    zero: Ranks = 0  # data-parallel ranks share out: 1 optimizer states, 2 gradients too, 3 weights too (FSDP)
    sequence_parallel: StrictBool = False  # norms and dropout on 1/tp of the tokens each
    overlap: StrictBool = True  # gradients (and ZeRO-3 weights) travel while the GPU computes
    stages: tuple[Ranks, ...] = ()  # layers of each piece of the pipeline, in the model's order; (): even

    def __post_init__(self) -> None:
        """Stages read from a file are a list; a layout must be hashable."""
        if not isinstance(self.stages, tuple):
            object.__setattr__(self, "stages", tuple(self.stages))

    @property
    def gpus(self) -> int:
        """GPUs needed."""
        return self.dp * self.tp * self.pp * self.cp

    def pieces(self, layers: int) -> Sequence[int]:
        """Layers of each piece of the pipeline; stage s of p runs pieces s, s + p, s + 2 p, ..."""
        return self.stages or stages(layers, self.pp * self.interleave)

    def microbatches(self, batch: int) -> int:
        """Microbatches of one replica for a global batch."""
        return batch // (self.dp * self.microbatch)

    @property
    def label(self) -> str:
        """Short name, such as `dp16 tp8 pp8 mb1 interleaved2 full zero1 sp`."""
        parts = [
            f"{name}{getattr(self, name)}" for name in ("dp", "tp", "pp", "ep", "cp") if getattr(self, name) > 1
        ]
        parts = [*(parts or ["1 GPU"]), f"mb{self.microbatch}"]
        if self.pp > 1:
            parts.append(self.schedule + (str(self.interleave) if self.interleave > 1 else ""))
        parts += [self.recompute] if self.recompute != "none" else []
        parts += [f"zero{self.zero}"] if self.zero else []
        parts += ["sp"] if self.sequence_parallel else []
        parts += ["no-overlap"] if not self.overlap and self.dp * self.cp > 1 else []
        parts += ["stages" + in_runs(self.stages)] if self.stages else []
        return " ".join(parts)


@dataclass(frozen=True)
class Assumptions:
    """Assumed constants (sources: docs/use/multigpu.md). None is fitted on a validation table."""

    bucket_bytes: float = 25 * 2**20  # gradients exchanged at a time: default of PyTorch's DDP
    tp_overlap: float = 0.0  # share of tensor-parallel communication that runs beside compute: none in Megatron
    blocking_sends: bool = True  # a stage goes on only when what it sends has arrived: as Megatron does
    contention: float = 0.189  # by how much kernels are slower while communication runs beside them
    fragmentation: float = 0.05  # of what is allocated, lost by the allocator
    context_bytes: float = 1.0e9  # driver, libraries, NCCL's buffers
    link_share: float = 1.0  # every collective's rate is scaled by this: for sensitivity alone
    compute_share: float = 1.0  # every kernel's speed likewise

    @property
    def taken(self) -> float:
        """Share of its own time by which communication delays the kernels beside it."""
        return self.contention / (1 + self.contention)


STANDARD = Assumptions()


@lru_cache(maxsize=4096)
def stages(layers: int, parts: int) -> tuple[int, ...]:
    """Layers of each of `parts` stages, as even as can be; the first and last stage, which do more, get fewer."""
    least, more = divmod(layers, parts)
    first = (parts - more + 1) // 2  # the longer stages stand in the middle
    return tuple(least + (first <= place < first + more) for place in range(parts))


def layout_of(given: Any, where: object) -> Layout:
    """The layout of a study's or scenario's mapping."""
    return validated(Layout, given, where, f"a layout has {', '.join(field.name for field in fields(Layout))}")


def in_runs(counts: Sequence[int]) -> str:
    """Numbers as text, equal neighbours together: `11,2x13,11` for 11, 13, 13, 11."""
    runs = [(value, len(list(run))) for value, run in groupby(counts)]
    return ",".join(f"{times}x{value}" if times > 1 else str(value) for value, times in runs)


def from_runs(text: str) -> tuple[int, ...]:
    """The numbers that a text such as `11,2x13,11` stands for."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:(\d{1,4})x)?(\d{1,6})", part.strip())
        if match is None or len(found) > 10_000:
            problem = f"{text!r} is no list of layers"
            raise InputError(
                "--stages", problem, "give a number for each stage, such as 11,13,13,11 or 11,2x13,11"
            )
        found += int(match[1] or 1) * [int(match[2])]
    return tuple(found)


def legal(
    layout: Layout,
    model: Architecture,
    gpus: int | None = None,
    batch: int | None = None,
    sequence: int | None = None,
) -> str | None:
    """Why `layout` cannot run `model` on `gpus` GPUs with a global `batch`; None if it can."""
    for name in ("dp", "tp", "pp", "ep", "cp", "microbatch", "interleave"):
        if getattr(layout, name) < 1:
            return f"{name} is {getattr(layout, name)}: it must be at least 1"
    if layout.schedule not in SCHEDULES:
        return f"schedule {layout.schedule!r} is not one of {', '.join(SCHEDULES)}"
    if layout.recompute not in RECOMPUTE:
        return f"recompute {layout.recompute!r} is not one of {', '.join(RECOMPUTE)}"
    if layout.zero not in (0, 1, 2, 3):
        return f"zero {layout.zero} is not 0, 1, 2 or 3"
    if gpus is not None and layout.gpus != gpus:
        product = f"dp {layout.dp} x tp {layout.tp} x pp {layout.pp} x cp {layout.cp}"
        return f"{product} = {layout.gpus} GPUs, not {gpus}"
    return _divides(layout, model) or _runs(layout, model, batch, sequence)


def _divides(layout: Layout, model: Architecture) -> str | None:
    tp, pieces = layout.tp, layout.pp * layout.interleave
    if model.heads % tp:
        return f"{model.heads} heads do not divide by tp {tp}"
    if model.kv_heads % tp and tp % model.kv_heads:
        return f"{model.kv_heads} key-value heads neither divide by tp {tp} nor divide it"
    if model.ffn % tp:
        return f"a feed-forward layer {model.ffn} wide does not divide by tp {tp}"
    if layout.sequence_parallel and tp == 1:
        return "sequence parallelism needs tp above 1"
    if pieces > model.layers:
        return f"{model.layers} layers are fewer than {pieces} pieces of the pipeline"
    if layout.stages and (reason := _given(layout.stages, pieces, model.layers)):
        return reason
    if layout.ep > 1 and not model.experts:
        return f"ep {layout.ep} needs experts, which {model.name} has none of"
    if layout.ep > 1 and model.experts % layout.ep:
        return f"{model.experts} experts do not divide by ep {layout.ep}"
    if layout.dp % layout.ep:
        return f"ep {layout.ep} does not divide dp {layout.dp}, within which experts are spread"
    return None


def _given(given: tuple[int, ...], pieces: int, layers: int) -> str | None:
    named = "stages " + in_runs(given)
    if len(given) != pieces:
        return f"{named}: {len(given)} numbers of layers for the {pieces} pieces of the pipeline"
    if min(given) < 1:
        return f"{named}: each has at least 1 layer"
    if sum(given) != layers:
        return f"{named}: {sum(given)} layers in all, the model has {layers}"
    return None


def _runs(layout: Layout, model: Architecture, batch: int | None, sequence: int | None) -> str | None:
    pp = layout.pp
    if (layout.schedule == "interleaved") != (layout.interleave > 1):
        return f"schedule {layout.schedule} with {layout.interleave} chunks a stage: interleaved has 2 or more"
    if layout.interleave > 1 and pp == 1:
        return "an interleaved schedule needs pp above 1"
    if layout.zero >= 2 and pp > 1:
        return f"zero {layout.zero} with pp {pp}: gradients would be exchanged at every microbatch"
    if batch is not None:
        if batch % layout.dp:
            return f"a batch of {batch} does not divide by dp {layout.dp}"
        if batch // layout.dp % layout.microbatch:
            return f"{batch // layout.dp} sequences a replica do not divide by microbatch {layout.microbatch}"
        if layout.interleave > 1 and layout.microbatches(batch) % pp:
            return f"{layout.microbatches(batch)} microbatches do not divide by pp {pp}, as interleaving needs"
    if sequence is not None:
        if sequence % layout.cp:
            return f"{sequence} tokens do not divide by cp {layout.cp}"
        if layout.sequence_parallel and sequence // layout.cp % layout.tp:
            return f"{sequence // layout.cp} tokens do not divide by tp {layout.tp}, as sequence parallelism needs"
    return None


def check(layout: Layout, model: Architecture, gpus: int | None, batch: int | None, sequence: int | None) -> None:
    """Raise InputError if `layout` is not legal."""
    if reason := legal(layout, model, gpus, batch, sequence):
        raise InputError(f"layout {layout.label}", reason, "choose ranks and a microbatch that divide")
