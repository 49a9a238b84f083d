"""Kernels of a model without tracing it again: from the shipped records, or from the cache of earlier traces.

Only what neither holds is traced, and only then are torch and transformers imported. What a trace in the
cache belongs to is decided by configuration, question, versions of torch and transformers, source of the tracer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tilecast.base import cache
from tilecast.base.errors import InputError
from tilecast.base.paths import KERNELS
from tilecast.base.progress import doing
from tilecast.graph.kernels import Kernel, KernelGraph, Launch, Wire, fold
from tilecast.graph.routing import Routing, parse_routing
from tilecast.graph.symbolic import (
    OPTIMIZERS,
    TENSOR_CORES,
    NotCovered,
    Program,
    Question,
    conditions,
    dimensions,
    fixed,
    letters,
    part_of,
)
from tilecast.models.registry import ModelSpec, load_model, model_spec
from tilecast.models.workload import check_positions, usual_length, workload

_TRACER = ("build", "classify", "cut", "experts", "mixers", "operations", "record", "routing", "tracer", "vit")


def kernel_graph(
    model: ModelSpec | Mapping[str, Any] | str | Path,
    *,
    mode: str = "inference",
    phase: str = "prefill",
    sequence_length: int | None = None,
    batch_size: int = 1,
    context: int = 0,
    dtype: str = "fp32",
    attention: str = "eager",
    optimizer: str | None = None,
    routing: str | Routing = "balanced",
    tp: int = 1,
    ep: int = 1,
) -> KernelGraph:
    """What `tilecast.graph.tracer.trace` gives, from a record or the cache where one of them holds it."""
    if isinstance(model, Mapping):
        spec = model_spec(model, "model", "configuration")
    else:
        spec = model if isinstance(model, ModelSpec) else load_model(model)
    length = 1 if phase == "decode" else usual_length(spec) if sequence_length is None else sequence_length
    routing = parse_routing(routing) if isinstance(routing, str) else routing
    asked = Question(mode, phase, length, batch_size, context, dtype, attention, optimizer, tp, ep)
    step = {name: value for name, value in asdict(asked).items() if name not in ("tp", "ep")}
    workload({"model": spec, **step}, spec.source)
    check_positions(spec, length, context)
    known = recorded(spec, asked) if routing == Routing() and ep == 1 else None  # none was held against ep ranks
    if known is not None:
        return known
    path = _cached(spec, asked, routing)
    known = _read(path)
    if known is None:
        with doing(f"tracing {spec.name}"):
            try:
                from tilecast.graph.tracer import trace
            except ImportError as error:
                problem = f"is not shipped as kernels, so it is traced, which needs torch ({error})"
                raise InputError(spec.source, problem, 'pip install "tilecast[torch]"') from None
            known = trace(spec, routing=routing, tp=tp, ep=ep, **step)
        _write(path, known)
    return known


# ---------------------------------------------------------------- shipped records


@lru_cache(maxsize=32)  # all that are shipped
def _file(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recorded(spec: ModelSpec, asked: Question) -> KernelGraph | None:
    """The kernels by the shipped records; None where they do not cover the model or the question."""
    try:
        values = letters(spec, asked)
    except NotCovered:
        return None
    rest = fixed(spec)
    kind = f"{spec.architecture(asked.mode)} {asked.kind}"
    for path in sorted(KERNELS.glob(f"{spec.values['model_type']}*.json")):
        file = _file(path)
        alone = "only" in file and file["only"] != dimensions(spec)
        if file["fixed"] == rest and kind in file["kinds"] and not alone:
            found = file["kinds"][kind]
            case = conditions(values)
            cases = (found["cases"].get(name) for name in (case, f"{case} {part_of(asked)}".strip()))
            place = next((known for known in cases if known is not None), None)
            try:
                launches = None if place is None else Program(file).launches(found["records"][place], values)
            except NotCovered:
                return None
            return None if launches is None else _graph(spec, asked, launches, "L" in values)
    return None


def _graph(spec: ModelSpec, asked: Question, launches: list[Launch], text: bool) -> KernelGraph:
    weights = sum(launch.kernel.m for launch in launches if launch.kernel.phase == "optimizer")
    rewritten: dict[Kernel, Kernel] = {}
    kept = []
    for launch in launches:
        kernel = launch.kernel
        if kernel.phase == "optimizer" and (asked.optimizer is None or asked.mode != "training"):
            continue
        if kernel not in rewritten:
            rewritten[kernel] = _as_asked(kernel, asked)
        kept.append(launch._replace(kernel=rewritten[kernel]))
    # As the tracer describes it, in the same order.
    about = {name: getattr(asked, name) for name in _DESCRIBED}
    about |= {"sequence_length": asked.sequence_length if text else 0}
    about = {"model": spec.name, **about, "routing": str(Routing()), "optimizer": asked.optimizer or "none"}
    return fold({**about, "parameters": weights}, kept)


_DESCRIBED = ("mode", "phase", "sequence_length", "batch_size", "context", "dtype", "attention")


def _as_asked(kernel: Kernel, asked: Question) -> Kernel:
    """A record's kernel in the number format asked for, an optimizer's as that optimizer's."""
    if kernel.phase == "optimizer":
        reads, writes, each = OPTIMIZERS[str(asked.optimizer)]
        size = kernel.bytes_written // OPTIMIZERS["adamw"][1]
        kernel = kernel._replace(op=str(asked.optimizer), operands=reads, flops=each * kernel.m)
        kernel = kernel._replace(bytes_read=reads * size, bytes_written=writes * size)
    if asked.dtype == "fp16" and kernel.dtype == "bf16":
        return kernel._replace(dtype="fp16")
    if asked.dtype == "tf32" and kernel.dtype == "fp32" and kernel.family in TENSOR_CORES:
        return kernel._replace(dtype="tf32")
    return kernel


# ---------------------------------------------------------------- the cache


def _cached(spec: ModelSpec, asked: Question, routing: Routing) -> Path:
    """Where the kernels of a question lie, whether or not they do."""
    classes = (spec.architecture("inference"), spec.architecture("training"))
    content = [spec.name, dict(spec.values), classes, asdict(asked), str(routing), _versions()]
    return cache.place("kernels", json.dumps(content, sort_keys=True).encode())


@lru_cache(maxsize=1)
def _versions() -> tuple[str, ...]:
    found = []
    for package in ("transformers", "torch"):
        try:
            found.append(version(package))
        except PackageNotFoundError:
            found.append("none")
    source = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _TRACER)
    return (*found, hashlib.sha256(source).hexdigest())


def _read(path: Path) -> KernelGraph | None:
    """The kernels of a cache file; None if there is none that is whole and written by `_write`."""
    stored = cache.read(path)
    try:
        kernels = [Kernel(*row) for row in stored["kernels"]]
        launches = [
            Launch(kernels[kernel], stored["modules"][module], *(tuple(Wire(*w) for w in side) for side in sides))
            for kernel, module, *sides in stored["launches"]
        ]
        return fold(stored["about"], launches)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _write(path: Path, graph: KernelGraph) -> None:
    kernels: dict[Kernel, int] = {}
    modules: dict[str, int] = {}
    launches = [
        [kernels.setdefault(kernel, len(kernels)), modules.setdefault(module, len(modules)), reads, writes]
        for kernel, module, reads, writes in graph.expand()
    ]
    stored = {"about": graph.about, "kernels": list(kernels), "modules": list(modules), "launches": launches}
    cache.write(path, stored)
