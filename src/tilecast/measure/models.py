"""Time whole models on a device: prefill, decode and training steps, eager and compiled, with random weights.

A model too large for the device is composed: shortened models with two and with four layers are timed, and the
rest of the layers added at the difference.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.limits import check
from tilecast.graph.build import DTYPES, build, offline
from tilecast.hardware.device import ELEMENT_BYTES
from tilecast.measure.backend import (
    Action,
    Backend,
    DeviceLost,
    OutOfMemory,
    Timing,
    Unsupported,
    guarded,
    outcome_of,
    timed,
)
from tilecast.measure.store import Run
from tilecast.models.registry import LAYER_KEYS, ModelSpec, load_model
from tilecast.tables.declared.measured import WORKLOAD, WORKLOAD_KEY

SHORTENED = (2, 4)  # layers of the models a composed figure comes from
FITS = 0.8  # of the device's memory, for weights and what training adds to them
IMAGE = 224  # pixels, of a model that names no size
DEFAULTS: dict[str, Any] = {
    "mode": "inference", "phase": "prefill", "sequence_length": 1024, "batch_size": 1, "context": 0,
    "dtype": "fp32", "attention": "eager", "execution": "eager",
}  # fmt: skip


def workload(given: Mapping[str, Any], where: object = "workload") -> dict[str, Any]:
    """A checked workload: WORKLOAD_KEY filled with defaults; training and decode set what follows from them.

    Checked without pydantic, which a borrowed host may lack.
    """
    unknown = sorted(str(key) for key in given if key not in WORKLOAD_KEY)
    if unknown or "model" not in given:
        problem = f"unknown key `{unknown[0]}`" if unknown else "`model` is missing"
        raise InputError(where, problem, f"a workload has {', '.join(WORKLOAD_KEY)}")
    work = DEFAULTS | dict(given)
    if work["mode"] == "training":
        work["phase"] = "step"
    if work["phase"] == "decode":
        work["sequence_length"] = 1
    for name, column in WORKLOAD.items():
        value = work[name]
        if column.values and value not in column.values:
            raise InputError(where, f"{name} = {value!r}", f"expected one of {', '.join(column.values)}")
        if column.kind == "integer":
            check(name.partition("_")[0], value, f"{where}, {name}", 0 if name == "context" else 1)
    if not isinstance(work["model"], str):
        raise InputError(where, "`model` is not a name", "see data/models")
    load_model(work["model"])
    return {name: work[name] for name in WORKLOAD_KEY}


def read_study(path: Path, key: str = "") -> list[dict[str, Any]]:
    """The workloads of a study's lists, or of one: a mapping each; a list as a value means one workload each."""
    raw = read_yaml(path, "see config/studies/live.yaml")
    lists = dict(raw) if isinstance(raw, dict) else {}
    chosen = [lists.get(key)] if key else list(lists.values())
    entries = [entry for part in chosen if isinstance(part, list) for entry in part]
    if not entries or not all(isinstance(part, list) for part in chosen):
        raise InputError(path, f"`{key or 'workloads'}` is not a list", "see config/studies/live.yaml")
    if not all(isinstance(entry, dict) for entry in entries):
        raise InputError(path, "an entry is not a mapping", "see config/studies/live.yaml")
    found: list[dict[str, Any]] = []
    for place, entry in enumerate(entries, 1):
        spread = [entry]
        for key, value in entry.items():
            if isinstance(value, list):
                check("runs", len(spread) * len(value), f"{path}, workload {place}")
                spread = [one | {key: each} for one in spread for each in value]
        found += [workload(one, f"{path}, workload {place}") for one in spread]
    return found


def measure_models(
    backend: Backend,
    works: Iterable[Mapping[str, Any]],
    run: Run,
    lines: Run,
    budget_s: float,
    seconds: float = 3.0,
    also: Callable[[Mapping[str, Any], Action, Action | None], None] | None = None,
) -> dict[str, Any]:
    """Time workloads in order until the budget is spent, printing each; known ones are passed over.

    `also` is called with each workload that was timed whole: its step, and of training its forward pass.
    """
    start, todo = time.monotonic(), [dict(work) for work in works]
    left = [work for work in todo if run.key(work) not in run.known]
    tally, ended = {"measured": 0, "out of memory": 0, "failed": 0}, "interrupted"
    try:
        for work in left:
            if time.monotonic() - start >= budget_s:
                break
            try:
                row, timeline = measure_model(backend, work, seconds, also)
            except DeviceLost as error:  # not tried again
                run.add(work | outcome_of(error) | {"passport": "measured"})
                raise
            run.add(row)
            for line in timeline:
                lines.add(work | line)
            tally[row["outcome"]] += 1
            why = f"{row['outcome']}: {row.get('reason')}"
            print(f"{title(work)}: " + (f"{row['latency_ms']:.4g} ms" if row.get("latency_ms") else why))
        ended = "complete"
    finally:
        for part in (run, lines):
            part.save(ended, facts=backend.facts())
    return tally | {"known": len(todo) - len(left), "left": len(left) - sum(tally.values())}


def title(work: Mapping[str, Any]) -> str:
    """A workload in words."""
    after = f" after {work['context']}" if work["context"] else ""
    return (
        f"{work['model']} {work['mode']} {work['phase']} {work['batch_size']}x{work['sequence_length']}{after} "
        f"{work['dtype']} {work['attention']} attention, {work['execution']}"
    )


def measure_model(
    backend: Backend,
    work: Mapping[str, Any],
    seconds: float = 3.0,
    also: Callable[[Mapping[str, Any], Action, Action | None], None] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One row of `measured_models` and its timeline: timed whole, composed of layers, or why not."""
    spec = load_model(work["model"])
    result = dict(work)
    try:
        if work["dtype"] not in backend.dtypes:
            raise Unsupported(f"{work['dtype']} is not measured on {backend.title}")
        with guarded(f"the model {spec.name}", backend):
            backend.precision(work["dtype"])
            _check_room(backend, spec, work)
            if _needed_bytes(spec, work) > FITS * backend.memory_bytes:
                return result | _composed(backend, spec, work, seconds) | {"outcome": "measured"}, []
            return _whole(backend, spec, work, seconds, also)
    except (OutOfMemory, Unsupported) as error:
        return result | outcome_of(error) | {"passport": "measured"}, []
    finally:
        _release(backend)


def _check_room(backend: Backend, spec: ModelSpec, work: Mapping[str, Any]) -> None:
    """Raise OutOfMemory where the widest activation alone has no room: a system may grant it, and end us later."""
    tokens = work["batch_size"] * max(work["sequence_length"], work["context"])
    widest = max((v for v in map(spec.values.get, ("vocab_size", "hidden_size", "n_embd")) if v), default=1)
    needed = float(tokens) * widest * ELEMENT_BYTES[work["dtype"]]
    if needed > backend.memory_bytes:
        room = backend.memory_bytes / 1e9
        raise OutOfMemory(f"{tokens} tokens need {needed / 1e9:.3g} GB, {room:.3g} GB may be used")


def _release(backend: Backend) -> None:
    """Give the model's memory back; a device that is lost takes nothing."""
    try:
        if "torch._dynamo" in sys.modules:  # loading it takes seconds
            torch._dynamo.reset()
        gc.collect()
        backend.free()
    except (RuntimeError, TilecastError):
        pass


def _whole(
    backend: Backend,
    spec: ModelSpec,
    work: Mapping[str, Any],
    seconds: float,
    also: Callable[[Mapping[str, Any], Action, Action | None], None] | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    step, alone = prepare(spec, work, backend)
    backend.peak_memory_bytes()
    found = _timed(backend, step, seconds)
    peak = backend.peak_memory_bytes()
    forward = _timed(backend, alone, seconds / 2).latency_ms if alone else None
    if forward and forward >= found.latency_ms:
        forward = None  # other work ran beside one of the two: they cannot be told apart
    state = backend.state()
    launches = backend.launches(step)
    timeline = [
        {"place": place, "kernel_name": one.name, "start_ms": one.start_ms, "duration_ms": one.duration_ms,
         "grid": one.grid or None, "block": one.block or None}
        for place, one in enumerate(launches)
    ]  # fmt: skip
    more = {
        "outcome": "measured",
        "passport": "measured",
        "forward_ms": forward,
        "backward_ms": found.latency_ms - forward if forward else None,
        "kernels": len(launches) or None,
        "kernel_ms": sum(one.duration_ms for one in launches) or None,
        "memory_bytes": peak,
    }
    if also:
        also(work, step, alone)
    return dict(work) | vars(found) | state | more, timeline


def _timed(backend: Backend, action: Action, seconds: float) -> Timing:
    backend.time(action, 2, flush=False)  # the first run compiles, the second settles
    return timed(backend, action, seconds)


def _needed_bytes(spec: ModelSpec, work: Mapping[str, Any]) -> float:
    """Bytes of weights, twice that with their gradients: what has to fit before anything else."""
    with offline():
        model = build(spec, work["mode"], work["dtype"], work["attention"])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return float(parameters * ELEMENT_BYTES[work["dtype"]] * (2 if work["mode"] == "training" else 1))


def _composed(backend: Backend, spec: ModelSpec, work: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Latency of the whole from shortened models: t(2) + (layers - 2) x (t(4) - t(2)) / 2."""
    key = next((name for name in LAYER_KEYS if name in spec.values), None)
    if key is None:
        raise Unsupported(f"{spec.name} does not fit and names no number of layers to shorten")
    times = []
    for layers in SHORTENED:
        step, _ = prepare(spec.shortened(layers), work, backend)
        times.append(_timed(backend, step, seconds))
        del step, _
        _release(backend)
    few, more = SHORTENED
    layers = int(spec.values[key])
    each = (times[1].latency_ms - times[0].latency_ms) / (more - few)
    if each <= 0:
        raise Unsupported(f"{more} layers were not slower than {few}: nothing can be composed of them")
    latency = times[0].latency_ms + (layers - few) * each
    return {
        "latency_ms": latency,
        "low_ms": latency * times[1].low_ms / times[1].latency_ms,
        "high_ms": latency * times[1].high_ms / times[1].latency_ms,
        "repetitions": times[1].repetitions,
        "passport": "composed",
        "layers_timed": ", ".join(str(number) for number in SHORTENED),
    }


def prepare(spec: ModelSpec, work: Mapping[str, Any], backend: Backend) -> tuple[Action, Action | None]:
    """Build the model on the device, with random weights and inputs: a step, and of training its forward pass.

    With execution `graphs` the step replays what one eager step launched.
    """
    step, forward = _prepared(spec, work, backend.place)
    if work["execution"] == "graphs":
        step()  # libraries choose their kernels
        step = backend.graphed(step)
    return step, forward


def _prepared(spec: ModelSpec, work: Mapping[str, Any], place: str) -> tuple[Action, Action | None]:
    torch.manual_seed(0)
    training = work["mode"] == "training"
    module: Any = build(spec, work["mode"], work["dtype"], work["attention"], place)
    module.train(training)
    module.requires_grad_(training)
    call: Any = torch.compile(module) if work["execution"] == "compiled" else module
    arguments = _arguments(module, spec, work, place)
    if work["phase"] == "decode":
        return _decode(module, call, work, place), None

    def forward() -> Any:
        with torch.set_grad_enabled(training):
            return call(**arguments)

    if not training:
        return forward, None
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)

    return lambda: backward(differentiable(forward())), forward


def _arguments(module: Any, spec: ModelSpec, work: Mapping[str, Any], place: str) -> dict[str, Tensor]:
    name, batch = getattr(module, "main_input_name", "input_ids"), work["batch_size"]
    if name == "pixel_values":
        size, channels = spec.values.get("image_size", IMAGE), spec.values.get("num_channels", 3)
        dtype = DTYPES[work["dtype"]]
        return {name: torch.rand(batch, channels, size, size, device=place).to(dtype)}
    if name != "input_ids":
        raise Unsupported(f"takes `{name}`, of unknown shape")
    tokens = torch.randint(module.config.vocab_size, (batch, work["sequence_length"]), device=place)
    pair = bool(getattr(module.config, "is_encoder_decoder", False))
    return {"input_ids": tokens} | ({"decoder_input_ids": tokens} if pair else {})


def _decode(module: Any, call: Any, work: Mapping[str, Any], place: str) -> Action:
    """One token a sequence against a cache that is cut back after every step."""
    vocabulary, batch, context = module.config.vocab_size, work["batch_size"], work["context"]
    if getattr(module.config, "is_encoder_decoder", False):
        raise Unsupported("decode of encoder-decoder models is not measured")
    token = torch.randint(vocabulary, (batch, 1), device=place)
    cache: Any = None
    if context:
        with torch.no_grad():
            before = torch.randint(vocabulary, (batch, context), device=place)
            cache = module(input_ids=before, use_cache=True).past_key_values

    def step() -> None:
        with torch.no_grad():
            call(input_ids=token, past_key_values=cache, use_cache=True)
            if cache is not None:
                cache.crop(-1)

    return step


def backward(outputs: list[Tensor]) -> None:
    """Backward from given gradients of a model's outputs, added to the gradients there are."""
    torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])


def differentiable(result: Any) -> list[Tensor]:
    """The outputs a loss would be computed from: logits where the model names some, else its last hidden state."""
    named = dict(result.items()) if hasattr(result, "items") else {"logits": result}
    chosen = [value for key, value in named.items() if key.endswith("logits") and "router" not in key]
    chosen = chosen or [value for key, value in named.items() if key == "last_hidden_state"]
    found = [value for value in chosen if isinstance(value, Tensor) and value.requires_grad]
    if not found:
        raise Unsupported("has no output that needs a gradient")
    return found
