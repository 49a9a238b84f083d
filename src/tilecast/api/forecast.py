"""Latency, memory and bottlenecks of one step of a model, on one GPU or on a layout of many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from tilecast.api import work as asked
from tilecast.api.answer import Timed
from tilecast.api.options import Option, question
from tilecast.api.steps import chrome_trace, costs, spent_lines, step_lines, step_values
from tilecast.api.text import percentages, short, size, text_table
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.base.paths import PRICES
from tilecast.hardware.device import Device
from tilecast.hardware.device_file import load_device
from tilecast.hardware.price import load_prices
from tilecast.hardware.system import System, load_system
from tilecast.models.registry import ModelSpec, load_model
from tilecast.multigpu.layout import Layout, check, from_runs
from tilecast.predict.registry import load_predictor

_RANKS = ("dp", "tp", "pp", "ep", "cp")
_LAYOUT = (*_RANKS, "microbatch", "interleave", "schedule", "recompute", "zero", "stages", "sequence_parallel")
_OF_MANY = (*_LAYOUT, "no_overlap", "timeline", "tokens", "prices")


class Forecast(Timed):
    """The forecast of one step."""

    schema = "tilecast.forecast/1"

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
        where = found["title"]
        if found["system"]:
            where = f"{found['gpus']:,} GPU{'s' * (found['gpus'] > 1)} of {found['system']}"
        interval = "no interval claimed"
        if self.interval_ms:
            words = "interval" if found["system"] else "80 % interval"
            interval = "{} {} to {} ms".format(words, *map(short, self.interval_ms))
        lines = [
            f"{found['model']} on {where}: {kind}, {found['batch']:,} x {found['sequence_length']:,} tokens, "
            f"{found['dtype']}, {found['attention']} attention",
            "",
            f"latency   {short(found['latency_ms'])} ms, {interval} [{found['predictor']}]",
        ]
        lines += [*step_lines(found), "", *spent_lines(found)] if found["system"] else _one(found)
        return "\n".join(lines)


def _one(found: Mapping[str, Any]) -> list[str]:
    """The lines on rate, memory and kernels of one GPU."""
    memory, latency = found["memory"], found["latency_ms"]
    kept = ", ".join(f"{name} {size(held)}" for name, held in memory["parts"].items() if held)
    phases = ", ".join(f"{name} {short(spent)} ms" for name, spent in found["phases_ms"].items())
    classes = ((name, short(ms), f"{ms / max(latency, 1e-12):.1%}") for name, ms in found["classes_ms"].items())
    top = (
        (
            f"{row['op']} {'x'.join(str(row[name]) for name in 'bmnk' if row[name])} {row['phase']}",
            f"{row['count']:,}", short(row["latency_ms"]), f"{row['share']:.1%}", f"  {row['bound']}",
        )
        for row in found["top"]
    )  # fmt: skip
    return [
        f"rate      {short(found['tokens_per_s'], 3)} tokens/s",
        f"memory    {size(memory['total_bytes'])} of {size(memory['device_bytes'])}, "
        f"{'fits' if memory['fits'] else 'does not fit'}: {kept}",
        f"source    {percentages(found['passports'])} of the time",
        f"bound by  {percentages(found['bounds'])}",
        *([f"phases    {phases}"] if len(found["phases_ms"]) > 1 else []),
        "",
        *text_table({"kernel class": "<14", "ms": ">10", "share": ">8"}, classes),
        "",
        *text_table({"top kernels": "<40", "runs": ">6", "ms": ">10", "share": ">8", "  bound by": "<"}, top),
    ]


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
    dtype: asked.Dtype = "fp32",
    attention: asked.Attention = "eager",
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
    fused: Annotated[
        bool, Option("elementwise chains run as one kernel, and no host is waited for: an engine")
    ] = False,
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
    step = {name: given[name] for name in ("mode", "phase", "context", "batch", "dtype", "attention", "optimizer")}
    if system is not None:
        if calibration is not None:
            raise InputError("--calibration", "is of one GPU", "leave out --system")
        return _on_system(given, spec, step, load_system(system))
    for name in _OF_MANY:
        if given[name] not in (None, False):
            flag = "--" + name.replace("_", "-")
            raise InputError(flag, "needs a system", "add --system, such as --system dgx_h100")
    if device is None:
        raise InputError("--device", "is missing", "name a GPU, or a --system of many")
    from tilecast.measure.describe import described

    gpu = described(device)
    gpu.check_format(dtype)
    if fused:  # kernels that no host launches one by one: as one GPU of a system does
        if calibration is not None:
            raise InputError(
                "--fused", "and --calibration do not go together", "scales are of kernels on their own"
            )
        alone = System(gpu.name, gpu.title, gpu.name, 1, 1, (), None, False, None)
        return _on_system(given, spec, step, alone)
    work = asked.workload(spec, sequence, "forecast", **step)
    known = load_predictor(predictor, weights)
    if calibration:
        from tilecast.predict.calibrate import Calibrated, load

        known = Calibrated(known, load(Path(calibration), gpu.name, predictor))
    from tilecast.predict.model import forecast_model

    names = {"sequence_length": sequence, "batch_size": step.pop("batch")}
    found = forecast_model(asked.traced(spec, "forecast", **step, **names), known, gpu)
    return Forecast(_values(spec, gpu, found, work.tokens))


def _values(spec: ModelSpec, device: Device, found: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The forecast of one GPU, by the names that forecasts of many have too."""
    held = found.pop("memory")
    total, room = held.pop("total_bytes"), held.pop("device_bytes")
    found["batch"], found["classes_ms"] = found.pop("batch_size"), found.pop("classes")
    parts = {name.removesuffix("_bytes"): value for name, value in held.items()}
    memory = {"fits": total <= room, "total_bytes": total, "device_bytes": room, "parts": parts}
    rate = tokens / found["latency_ms"] * 1e3 if found["latency_ms"] else 0.0
    return {"title": device.title, "system": None, "gpus": 1, **found, "tokens_per_s": rate, "memory": memory}


def _on_system(given: dict[str, Any], spec: ModelSpec, step: dict[str, Any], system: System) -> Forecast:
    """The forecast of a step on a layout of a system's GPUs."""
    if given["device"] is None and not system.device:
        raise InputError(given["system"], "names no `device`", "add --device")
    device, prices = load_device(given["device"] or system.device), load_prices(given["prices"] or PRICES)
    if given["tokens"] is not None and not 0 < given["tokens"] < 1e18:
        raise InputError("--tokens", f"{given['tokens']:g} is no number above zero")
    if given["tokens"] is not None and given["mode"] != "training":
        raise InputError("--tokens", "is of a training run", "add --mode training")
    parts = {name: given[name] for name in _LAYOUT if given[name] is not None}
    if "microbatch" not in parts and step["batch"] % parts.get("dp", 1) == 0:
        parts["microbatch"] = max(1, step["batch"] // parts.get("dp", 1))
    if "stages" in parts:
        parts["stages"] = from_runs(parts["stages"])
    layout = Layout(**parts, overlap=not given["no_overlap"])
    work = asked.workload(spec, given["sequence"], "forecast", **step, fused=given["fused"])
    check(layout, work.architecture, None, work.batch_size, work.sequence_length)
    predictor = load_predictor(given["predictor"], given["weights"])
    with asked.torch_needed("forecast"):
        from tilecast.multigpu.step import StepForecaster

        forecaster = StepForecaster(work, system, device, predictor)
        found = forecaster.step(layout)
    if given["timeline"]:
        write_text(given["timeline"], json.dumps(chrome_trace(found)) + "\n")
    names = ("mode", "phase", "context", "sequence_length", "dtype", "attention", "optimizer")
    return Forecast(
        {
            "title": device.title, "system": system.title, "device": device.name, "predictor": predictor.name,
            "model": spec.name, **{name: getattr(work, name) for name in names}, "batch": work.batch_size,
            **step_values(found, work), "classes_ms": forecaster.classes_ms(layout),
            "cost": costs(prices, device, found, work, given["tokens"]),
        }
    )  # fmt: skip
