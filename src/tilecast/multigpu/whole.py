"""A step on one GPU of a model that cannot be cut over several: every kernel as it is traced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tilecast.base.errors import InputError
from tilecast.graph.fuse import fuse
from tilecast.graph.kernels import KernelGraph
from tilecast.graph.source import kernel_graph
from tilecast.hardware.device import ELEMENT_BYTES, Device
from tilecast.models.workload import Workload
from tilecast.multigpu.kernels import unissued
from tilecast.multigpu.layout import STANDARD, Layout
from tilecast.multigpu.memory import PARTS as HELD
from tilecast.multigpu.memory import Memory
from tilecast.multigpu.shard import mixed
from tilecast.multigpu.step import PARTS, Step
from tilecast.predict.columns import Columns
from tilecast.predict.kernel import Predictor, forecast
from tilecast.predict.model import forecast_model


class _Unissued:
    """A predictor of kernels that no host launches one by one."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.name = predictor, predictor.name

    def predict_columns(self, kernels: Columns, device: Device) -> Columns:
        """The predictor's forecasts, none longer than in a CUDA graph."""
        return unissued(kernels, forecast(self.predictor, kernels, device), device)


def step(work: Workload, device: Device, predictor: Predictor, host: str) -> tuple[Step, dict[str, Any]]:
    """The step, and what its kernels are (`predict.model.described`)."""
    if work.narrow:
        raise InputError(
            work.spec.source, "cannot be cut, and is forecast from 16 bits up", "ask for --dtype bf16"
        )
    graph = _graph(work)
    if work.fused:
        graph = fuse(graph, engine=True)
    found = forecast_model(graph, _Unissued(predictor) if work.fused else predictor, device, host)
    waits = {name: ms for name, ms in found["waits_ms"].items() if name != "optimizer"}
    parts = dict.fromkeys(PARTS, 0.0) | {"host": sum(waits.values())}
    parts["optimizer"] = found["phases_ms"].get("optimizer", 0.0)
    latency = found["latency_ms"]
    parts["compute"] = latency - parts["host"] - parts["optimizer"]
    inputs = work.tokens if graph.about["sequence_length"] else work.batch_size
    low, high = found["low_ms"], found["high_ms"]
    one = Step(
        Layout(microbatch=work.batch_size),
        latency,
        latency if low is None else low,
        latency if high is None else high,
        parts,
        inputs / latency * 1e3 if latency else 0.0,
        Memory((_held(work, graph, found["memory"]),), device.memory_bytes),
        (parts | {"waiting": 0.0},),
        list,
    )
    return one, found


def _graph(work: Workload) -> KernelGraph:
    graph = kernel_graph(
        work.spec,
        mode=work.mode,
        phase=work.phase,
        sequence_length=None if work.phase == "decode" else work.sequence_length,
        batch_size=work.batch_size,
        context=work.context,
        dtype=work.dtype,
        attention=work.attention,
        optimizer=work.optimizer,
    )
    blocks = tuple(tuple((mixed(kernel, work), module) for kernel, module in block) for block in graph.blocks)
    return replace(graph, blocks=blocks)


def _held(work: Workload, graph: KernelGraph, traced: dict[str, float]) -> dict[str, float]:
    """Bytes by part: tensors of the trace, and of mixed precision a copy of the weights in fp32."""
    copied = ELEMENT_BYTES[work.dtype] < 4 and work.mixed and work.mode == "training" and work.optimizer
    found = dict.fromkeys(HELD, 0.0)
    found |= {name: traced[f"{name}_bytes"] for name in ("weights", "gradients", "optimizer")}
    found["optimizer"] += 4 * graph.about["parameters"] if copied else 0.0
    found["activations"] = traced["live_bytes"]
    found["fragmentation"] = STANDARD.fragmentation * sum(found.values())
    found["context"] = STANDARD.context_bytes
    return found
