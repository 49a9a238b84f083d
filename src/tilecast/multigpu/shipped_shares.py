"""Traced kernels of one GPU's share of a model, as shipped: the default run needs no torch for them.

`python benchmarks/trace_shares.py` writes them anew; a test holds some of them against a fresh trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.graph.kernels import Kernel
from tilecast.models.workload import Workload
from tilecast.multigpu.shard import Shape, Share, Traces, share


def key(work: Workload) -> str:
    """The parts of a workload that decide its kernels, as text; the global batch is not one."""
    kind = (work.spec.name, work.mode, work.phase, work.sequence_length, work.context)
    return " ".join(
        map(str, (*kind, work.dtype, work.attention, work.optimizer or "none", work.fused, work.mixed))
    )


def load(path: str | Path, work: Workload) -> dict[Shape, Share]:
    """The shares of `work` in a file; none if it holds none."""
    try:
        stored, kernels = _read(Path(path), Path(path).stat().st_mtime_ns)
        shapes = stored["works"].get(key(work), {})
        return {Shape(*json.loads(shape)): _share(kernels, groups) for shape, groups in shapes.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        remedy = "write it with python benchmarks/trace_shares.py"
        raise InputError(path, f"holds no traced kernels ({error!r})", remedy) from None


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> tuple[dict[str, Any], list[Kernel]]:
    """The file as it stands, parsed once."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored, [Kernel(*row) for row in stored["kernels"]]


def _share(kernels: list[Kernel], groups: Mapping[str, list[list[int]]]) -> Share:
    parts = ((name.split(" "), rows) for name, rows in groups.items())
    return Share({(part, phase): [(kernels[place], n) for place, n in rows] for (part, phase), rows in parts})


def save(path: str | Path, wanted: Iterable[tuple[Workload, Iterable[Shape]]]) -> None:
    """Trace shapes of works, and write them; each kernel is stored once."""
    kernels: dict[Kernel, int] = {}
    works: dict[str, Any] = {}
    for work, shapes in wanted:
        traces: Traces = {}
        for shape in sorted(set(shapes), key=repr):
            parts = share(work, shape, traces).kernels
            name = json.dumps([shape.tp, shape.ep, shape.cp, shape.microbatch, shape.sequence_parallel])
            works.setdefault(key(work), {})[name] = {
                f"{part} {phase}": [[kernels.setdefault(kernel, len(kernels)), count] for kernel, count in group]
                for (part, phase), group in sorted(parts.items())
            }
    rows = ",\n".join(json.dumps(kernel) for kernel in kernels)
    shares = ",\n".join(f"{json.dumps(name)}: {json.dumps(groups)}" for name, groups in sorted(works.items()))
    write_text(path, f'{{"kernels": [\n{rows}\n],\n"works": {{\n{shares}\n}}}}\n')
