"""Latency, memory and bottlenecks of one step of a model, on one GPU or on a layout of many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tilecast.api import work as asked
from tilecast.api.answer import Timed
from tilecast.api.options import Option, question
from tilecast.api.steps import chrome_trace, costs, energy, spent_lines, step_lines, step_values
from tilecast.api.text import short
from tilecast.base.errors import InputError, Uncut, Unfused
from tilecast.base.files import write_text
from tilecast.base.paths import PRICES
from tilecast.hardware.device import Device, usual_format
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import System, load_system
from tilecast.models.architecture import stacked
from tilecast.models.choices import PRODUCTS
from tilecast.models.registry import load_model
from tilecast.multigpu.layout import Layout, check, from_runs
from tilecast.predict.registry import load_predictor

if TYPE_CHECKING:
    from tilecast.models.workload import Workload
    from tilecast.multigpu.step import Step
    from tilecast.predict.kernel import Predictor

_RANKS = ("dp", "tp", "pp", "ep", "cp")
_LAYOUT = (*_RANKS, "microbatch", "interleave", "schedule", "recompute", "zero", "stages", "sequence_parallel")
_OF_MANY = (*_RANKS, "interleave", "schedule", "zero", "stages", "sequence_parallel", "no_overlap")


class Forecast(Timed):
    """The forecast of one step."""

    schema = "tilecast.forecast/2"

    @property
    def fits(self) -> bool:
        """Whether the GPUs' memory holds it."""
        return bool(self.values["memory"]["fits"])

    @property
    def tokens_per_s(self) -> float:
        """Tokens read (training, prefill) or made (decode) a second, on all GPUs together."""
        return float(self.values["tokens_per_s"])

    @property
    def memory_bytes(self) -> float:
        """Bytes of the fullest GPU."""
        return float(self.values["memory"]["total_bytes"])

    def rows(self) -> list[dict[str, Any]]:
        """Where the time goes: a row a kernel class, or a part of a step on many GPUs."""
        parts = self.values.get("parts_ms") or self.values["classes_ms"]
        return [{"part": name, "ms": ms, "share": ms / self.latency_ms} for name, ms in parts.items()]

    def text(self) -> str:
        """For a reader."""
        found = self.values
        after = f" after {found['context']:,}" if found["context"] else ""
        kind = f"inference ({found['phase']}{after})" if found["mode"] == "inference" else found["mode"]
        many = "s" * (found["gpus"] > 1)
        where = f"{found['gpus']:,} GPU{many} of {found['system']}" if found["system"] else found["title"]
        interval = "no interval claimed"
        if self.interval_ms:
            interval = "80 % interval {} to {} ms".format(*map(short, self.interval_ms))
        length = found["sequence_length"]
        read = f"{found['batch']:,}" + (f" x {length:,} token{'s' * (length > 1)}" if length else "")
        lines = [
            f"{found['model']} on {where}: {kind}, {read}, "
            f"{_formats(found)}, {found['attention']} attention, {found['engine']} kernels",
            "",
            f"latency   {short(found['latency_ms'])} ms, {interval} [{found['predictor']}]",
            *step_lines(found),
            "",
            *spent_lines(found),
        ]
        return "\n".join(lines)


def _formats(found: dict[str, Any]) -> str:
    named = (("weight_dtype", "weights in"), ("kv_dtype", "cache in"))
    return ", ".join([found["dtype"], *(f"{words} {found[name]}" for name, words in named if found[name])])


@question
def forecast(
    model: asked.Model,
    device: asked.Gpu = None,
    *,
    mode: asked.Mode = "inference",
    phase: asked.Phase = "prefill",
    context: asked.Context = 0,
    sequence: asked.Sequence = None,
    batch: asked.Batch = 1,
    dtype: Annotated[
        Literal["fp32", "tf32", "fp16", "bf16", "fp8", "fp8_block", "nvfp4"] | None,
        Option(
            "number format (default: bf16; fp16 or fp32 on a GPU without it); below 16 bits of layers' products"
        ),
    ] = None,
    attention: Annotated[
        Literal["eager", "fused"] | None, Option("written out, or as one kernel (default: fused, if it has that)")
    ] = None,
    weight_dtype: asked.WeightFormat = None,
    kv_dtype: asked.CacheFormat = None,
    engine: asked.Engine = None,
    host: asked.Host = None,
    optimizer: asked.Optimizer = None,
    predictor: asked.Forecaster = "tilecast",
    weights: asked.Weights = None,
    calibration: Annotated[
        str | None, Option("scales measured on the GPU (tilecast measure calibrate)", metavar="FILE")
    ] = None,
    system: Annotated[
        str | None, Option("many GPUs: a system file (YAML), or a name of `tilecast list systems`")
    ] = None,
    dp: Annotated[int | None, Option("data-parallel replicas; --batch is over all", "gpus")] = None,
    tp: Annotated[int | None, Option("tensor-parallel ranks", "gpus")] = None,
    pp: Annotated[int | None, Option("pipeline stages", "gpus")] = None,
    ep: Annotated[int | None, Option("expert-parallel ranks, within dp", "gpus")] = None,
    cp: Annotated[int | None, Option("context-parallel ranks", "gpus")] = None,
    microbatch: Annotated[
        int | None, Option("sequences a GPU works on at a time (default: all of its replica's)", "microbatch")
    ] = None,
    interleave: Annotated[
        int | None, Option("chunks of layers a stage holds, for --schedule interleaved", "layers")
    ] = None,
    schedule: Annotated[
        Literal["gpipe", "1f1b", "interleaved"] | None, Option("of the pipeline (default: 1f1b)")
    ] = None,
    recompute: Annotated[
        Literal["none", "selective", "full"] | None, Option("activations computed again in the backward pass")
    ] = None,
    zero: Annotated[Literal[0, 1, 2, 3] | None, Option("ZeRO stage; 3 is FSDP", "top", 0)] = None,
    sequence_parallel: Annotated[bool, Option("norms on 1/tp of the tokens")] = False,
    no_overlap: Annotated[bool, Option("gradients sent after the backward pass")] = False,
    stages: Annotated[
        str | None,
        Option("layers of each pipeline stage; 11,2x13,11 is 11, 13, 13, 11 (default: even)", metavar="LAYERS"),
    ] = None,
    timeline: Annotated[str | None, Option("write the step as a Chrome trace (JSON)", metavar="FILE")] = None,
    tokens: Annotated[float | None, Option("training: cost of a run on so many tokens, such as 3e11")] = None,
    prices: asked.PriceFile = None,
) -> Forecast:
    """Latency, memory and bottlenecks of a model on a GPU, or on a layout of many."""
    given = dict(locals())
    spec = load_model(model)
    engine = engine or ("compiled" if mode == "inference" else "eager")
    if host is not None and engine == "compiled":
        raise InputError("--host", "launches nothing of compiled kernels", "add --engine eager")
    if calibration is not None and (system is not None or engine == "compiled"):
        raise InputError("--calibration", "is of one GPU, kernel by kernel", "give --device and --engine eager")
    where = _one_gpu(given) if system is None else load_system(system)
    if device is None and not where.device:
        raise InputError(str(system), "names no `device`", "add --device")
    if tokens is not None and not 0 < tokens < 1e18:
        raise InputError("--tokens", f"{tokens:g} is no number above zero")
    for name in ("tokens", "optimizer", "recompute") if mode == "inference" else ():
        if given[name] not in (None, "none"):
            raise InputError(f"--{name}", "is of a training run", "add --mode training")
    if mode == "inference" and zero in (1, 2):
        raise InputError("--zero", f"{zero} shares out what training alone has", "expected 0 or 3 in inference")
    if schedule is not None and (pp or 1) == 1:
        raise InputError("--schedule", "is of a pipeline", "add --pp")
    gpu = _described(device or where.device)
    step = {name: given[name] for name in ("mode", "phase", "context", "batch", "optimizer")}
    narrow = dtype if dtype in PRODUCTS else None
    step |= {"dtype": "bf16" if narrow else dtype or usual_format(gpu), "fused": engine == "compiled"}
    step |= {"products": narrow, "weights": weight_dtype, "cache": None if kv_dtype == "bf16" else kv_dtype}
    gpu.check_format(step["dtype"])
    if kv_dtype == "bf16" and step["dtype"] not in ("fp16", "bf16"):
        raise InputError("--kv-dtype", f"bf16 goes with 16 bits, not with {step['dtype']}", "leave it out")
    layout, costing = _layout(given), load_prices(prices or PRICES)
    usual = [attention] if attention else ["fused", "eager"] if stacked(spec) else ["eager"]
    works = [asked.workload(spec, sequence, "forecast", **step, attention=name) for name in usual]
    if works[0].narrow and (predictor != "tilecast" or weights):
        raise InputError("--predictor", "below 16 bits tilecast's own weights alone forecast", "leave it out")
    with _alone(works[0], layout):
        check(layout, works[0].architecture, None, batch, works[0].sequence_length)
    from tilecast.predict import formats  # numpy, once the arguments stand
    from tilecast.predict.kernel import HostAware

    formats.check(works[0], gpu)
    known = load_predictor(predictor, weights)
    if calibration:
        from tilecast.predict.calibrate import Calibrated, load

        known = Calibrated(known, load(Path(calibration), gpu.name, predictor))
    if host is not None and not isinstance(known, HostAware):
        raise InputError("--host", f"is not forecast by {predictor}", "leave it out")
    with asked.torch_needed("forecast"):
        for work in works:
            try:
                found, kernels = _step(work, where, gpu, known, layout, host or "any")
                break
            except Unfused:
                if work is works[-1]:
                    raise
    if timeline:
        write_text(timeline, json.dumps(chrome_trace(found)) + "\n")
    names = ("mode", "phase", "context", "dtype", "attention", "optimizer")
    length = kernels.get("sequence_length", 1 if phase == "decode" else work.sequence_length)
    kernels = {name: kernels[name] for name in ("claimed", "passports", "bounds", "classes_ms", "top")}
    values = step_values(found, work) | ({} if kernels.pop("claimed") else {"low_ms": None, "high_ms": None})
    how = {name: getattr(work, name) for name in names} | {"dtype": narrow or work.dtype}
    return Forecast(
        {
            "title": gpu.title, "system": where.title if system else None, "device": gpu.name,
            "predictor": known.name, "model": spec.name, **how, "weight_dtype": weight_dtype,
            "kv_dtype": kv_dtype, "sequence_length": length, "engine": engine, "host": host,
            "batch": work.batch_size, **values, **kernels, "cost": costs(costing, gpu, found, work, tokens),
            "energy": energy(gpu, found, kernels["bounds"]),
        }
    )  # fmt: skip


def _one_gpu(given: dict[str, Any]) -> System:
    """A system of the one GPU that is asked for; what needs many is refused."""
    for name in _OF_MANY:
        if given[name] not in (None, False):
            flag = "--" + name.replace("_", "-")
            raise InputError(flag, "needs a system", "add --system, such as --system dgx_h100")
    if given["device"] is None:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")
    gpu = _described(given["device"])
    return System(gpu.name, gpu.title, gpu.name, 1, 1, (), None, False, None)


def _described(name: str) -> Device:
    """A GPU by its name or file, or as `tilecast measure` described it."""
    from tilecast.measure.describe import described

    return described(name)


def _layout(given: dict[str, Any]) -> Layout:
    parts = {name: given[name] for name in _LAYOUT if given[name] is not None}
    if "microbatch" not in parts and given["batch"] % parts.get("dp", 1) == 0:
        parts["microbatch"] = max(1, given["batch"] // parts.get("dp", 1))
    if "stages" in parts:
        parts["stages"] = from_runs(parts["stages"])
    return Layout(**parts, overlap=not given["no_overlap"])


@contextmanager
def _alone(work: Workload, layout: Layout) -> Iterator[None]:
    """A model that cannot be cut is no error here where one GPU can run it as it is traced."""
    try:
        yield
    except Uncut:
        if layout != Layout(microbatch=work.batch_size):
            raise


def _step(
    work: Workload, system: System, device: Device, predictor: Predictor, layout: Layout, host: str
) -> tuple[Step, dict[str, Any]]:
    """The forecast of a step, and what its kernels are."""
    from tilecast.multigpu.step import StepForecaster
    from tilecast.multigpu.whole import step

    with _alone(work, layout):
        forecaster = StepForecaster(work, system, device, predictor, host=host)
        return forecaster.step(layout), forecaster.described(layout)
    return step(work, device, predictor, host)
