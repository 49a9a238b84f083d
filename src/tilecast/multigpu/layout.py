"""A layout: how a transformer's work is divided among GPUs, and which divisions are possible."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool

from tilecast.base.arrays import Array
from tilecast.base.errors import InputError
from tilecast.base.limits import MOST
from tilecast.models.architecture import Architecture

SCHEDULES = ("gpipe", "1f1b", "interleaved")
RECOMPUTE = ("none", "selective", "full")
Count = Annotated[int, Field(strict=True, le=MOST["gpus"][0])]  # the limit of every number of a layout


class Ranks:
    """What one layout and many of them have in common."""

    dp: Any
    tp: Any
    pp: Any
    cp: Any
    microbatch: Any

    @property
    def gpus(self) -> Any:
        """GPUs needed."""
        return self.dp * self.tp * self.pp * self.cp

    def microbatches(self, batch: int) -> Any:
        """Microbatches of one replica for a global batch."""
        return batch // (self.dp * self.microbatch)


@dataclass(frozen=True)
class Layout(Ranks):
    """Ranks of each kind of parallelism and how a step runs on them; ranks are placed tp, cp, dp, pp, inner first.

    Expert parallelism lives inside data parallelism: `ep` divides `dp` and adds no GPUs.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    dp: Count = 1
    tp: Count = 1
    pp: Count = 1
    ep: Count = 1
    cp: Count = 1
    microbatch: Count = 1  # sequences
    schedule: str = "1f1b"
    interleave: Count = 1  # model chunks a stage holds
    recompute: str = "none"
    zero: Count = 0  # data-parallel ranks share out: 1 optimizer states, 2 gradients too, 3 weights too (FSDP)
    sequence_parallel: StrictBool = False  # norms and dropout on 1/tp of the tokens each
    overlap: StrictBool = True  # gradients (and ZeRO-3 weights) travel while the GPU computes
    stages: tuple[Count, ...] = ()  # layers of each piece of the pipeline, in the model's order; (): even

    def __post_init__(self) -> None:
        """Stages read from a file are a list; a layout must be hashable."""
        if not isinstance(self.stages, tuple):
            object.__setattr__(self, "stages", tuple(self.stages))

    def pieces(self, layers: int) -> Sequence[int]:
        """Layers of each piece of the pipeline; stage s of p runs pieces s, s + p, s + 2 p, ..."""
        return self.stages or stages(layers, self.pp * self.interleave)

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


class Layouts(Ranks):
    """Many layouts at once: every part but `stages` is an array with an entry a layout."""

    PARTS = tuple(field.name for field in fields(Layout) if field.name != "stages")
    ep: Array
    schedule: Any
    interleave: Any
    recompute: Array
    zero: Array
    sequence_parallel: Array
    overlap: Array
    stages: list[tuple[int, ...]]

    @classmethod
    def of(cls, layouts: Sequence[Layout]) -> Layouts:
        """These layouts, in order."""
        import numpy as np  # here and below: one layout is checked without it

        found = cls()
        columns = zip(*map(attrgetter(*cls.PARTS), layouts), strict=True) if layouts else [()] * len(cls.PARTS)
        found.__dict__ = dict(zip(cls.PARTS, map(np.array, columns)))
        found.stages = [layout.stages for layout in layouts]
        return found

    @classmethod
    def one(cls, layout: Layout) -> Layouts:
        """A single layout, which is alike by itself."""
        found = cls.of([layout])
        found.__dict__ |= {name: getattr(layout, name) for name in _PIPELINE}
        return found

    def __getitem__(self, places: Array) -> Layouts:
        """Those at `places`."""
        import numpy as np

        found = type(self)()
        found.__dict__ = {
            name: part[places] if isinstance(part, np.ndarray) else part for name, part in vars(self).items()
        }
        found.stages = [self.stages[place] for place in places]
        return found

    def __len__(self) -> int:
        return len(self.stages)

    def alike(self) -> Iterator[tuple[Array, Layouts]]:
        """Places and layouts of each kind of pipeline: `schedule`, `pp` and `interleave` are one value for all."""
        import numpy as np

        kinds: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, kind in enumerate(zip(*(getattr(self, name).tolist() for name in _PIPELINE), strict=True)):
            kinds[kind].append(place)
        for kind, places in kinds.items():
            found = self[np.array(places)]
            found.__dict__ |= dict(zip(_PIPELINE, kind, strict=True))
            yield np.array(places), found

    def pieces(self, layers: int) -> Array:
        """Layers of each piece of pipelines that are alike: [piece, layout]."""
        import numpy as np

        found = np.empty((self.pp * self.interleave, len(self)), dtype=int)
        found[:] = np.array(stages(layers, len(found)))[:, None]
        for place, given in enumerate(self.stages):
            if given:
                found[:, place] = given
        return found


_PIPELINE = ("schedule", "pp", "interleave")


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


Rule = tuple[Any, Callable[[Layout], str]]  # whether a layout (or each of many) breaks it, and how, in words


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
    for broken, words in _rules(layout, model, gpus, batch, sequence):
        if broken:
            return words(layout)
    return _given(layout.stages, layout.pp * layout.interleave, model.layers) if layout.stages else None


def illegal(
    layouts: Sequence[Layout], model: Architecture, gpus: int | None, batch: int | None, sequence: int | None
) -> list[str | None]:
    """What `legal` says of each of many layouts whose parts are possible by themselves, their stages even."""
    import numpy as np

    found: list[str | None] = [None] * len(layouts)
    rules = list(_rules(Layouts.of(layouts), model, gpus, batch, sequence)) if layouts else []
    for broken, words in reversed(rules):  # the first rule that is broken has the last word
        for place in np.flatnonzero(broken).tolist():
            found[place] = words(layouts[place])
    return found


def _rules(
    at: Layout | Layouts, model: Architecture, gpus: int | None, batch: int | None, sequence: int | None
) -> Iterator[tuple[Any, Callable[[Layout], str]]]:
    """Whether a layout (or each of many) breaks a rule, and how, in words; rules others build upon come first."""
    heads, keys, layers, experts = model.heads, model.kv_heads, model.layers, model.experts
    tp, pp, dp, ep, pieces = at.tp, at.pp, at.dp, at.ep, at.pp * at.interleave
    if gpus is not None:
        yield (
            at.gpus != gpus,
            lambda x: f"dp {x.dp} x tp {x.tp} x pp {x.pp} x cp {x.cp} = {x.gpus} GPUs, not {gpus}",
        )
    yield heads % tp != 0, lambda x: f"{heads} heads do not divide by tp {x.tp}"
    yield (
        (keys % tp != 0) & (tp % keys != 0),
        lambda x: f"{keys} key-value heads neither divide by tp {x.tp} nor divide it",
    )
    yield (
        model.state_groups % tp != 0,
        lambda x: f"{model.state_groups} groups of its state spaces do not divide by tp {x.tp}",
    )
    yield model.ffn % tp != 0, lambda x: f"a feed-forward layer {model.ffn} wide does not divide by tp {x.tp}"
    yield at.sequence_parallel & (tp == 1), lambda x: "sequence parallelism needs tp above 1"
    yield pieces > layers, lambda x: f"{layers} layers are fewer than {x.pp * x.interleave} pieces of the pipeline"
    yield (ep > 1) & (not experts), lambda x: f"ep {x.ep} needs experts, which {model.name} has none of"
    yield experts % ep != 0, lambda x: f"{experts} experts do not divide by ep {x.ep}"
    yield dp % ep != 0, lambda x: f"ep {x.ep} does not divide dp {x.dp}, within which experts are spread"
    yield (
        (at.schedule == "interleaved") != (at.interleave > 1),
        lambda x: f"schedule {x.schedule} with {x.interleave} chunks a stage: interleaved has 2 or more",
    )
    yield (at.interleave > 1) & (pp == 1), lambda x: "an interleaved schedule needs pp above 1"
    yield (
        (at.zero >= 2) & (pp > 1),
        lambda x: f"zero {x.zero} with pp {x.pp}: gradients would be exchanged at every microbatch",
    )
    if batch is not None:
        yield batch % dp != 0, lambda x: f"a batch of {batch} does not divide by dp {x.dp}"
        yield (
            batch // dp % at.microbatch != 0,
            lambda x: f"{batch // x.dp} sequences a replica do not divide by microbatch {x.microbatch}",
        )
        yield (
            (at.interleave > 1) & (at.microbatches(batch) % pp != 0),
            lambda x: f"{x.microbatches(batch)} microbatches do not divide by pp {x.pp}, as interleaving needs",
        )
    if sequence is not None:
        yield sequence % at.cp != 0, lambda x: f"{sequence} tokens do not divide by cp {x.cp}"
        yield (
            at.sequence_parallel & (sequence // at.cp % tp != 0),
            lambda x: f"{sequence // x.cp} tokens do not divide by tp {x.tp}, as sequence parallelism needs",
        )


def _given(given: tuple[int, ...], pieces: int, layers: int) -> str | None:
    named = "stages " + in_runs(given)
    if len(given) != pieces:
        return f"{named}: {len(given)} numbers of layers for the {pieces} pieces of the pipeline"
    if min(given) < 1:
        return f"{named}: each has at least 1 layer"
    if sum(given) != layers:
        return f"{named}: {sum(given)} layers in all, the model has {layers}"
    return None


def check(layout: Layout, model: Architecture, gpus: int | None, batch: int | None, sequence: int | None) -> None:
    """Raise InputError if `layout` is not legal."""
    if reason := legal(layout, model, gpus, batch, sequence):
        raise InputError(f"layout {layout.label}", reason, "choose ranks and a microbatch that divide")
