"""Any model as its list of kernels: run once under fake tensors, nothing computed, no weight allocated."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

from tilecast.base.errors import InputError, TilecastError
from tilecast.graph.build import DTYPES, build, offline
from tilecast.graph.cut import cut
from tilecast.graph.experts import routed
from tilecast.graph.kernels import Kernel, KernelGraph, Launch, fold
from tilecast.graph.mixers import as_engines_run
from tilecast.graph.operations import fused_attention, one_rms_norm
from tilecast.graph.record import Recorder
from tilecast.graph.routing import Routing, parse_routing
from tilecast.graph.symbolic import OPTIMIZERS
from tilecast.models.registry import ModelSpec, load_model, model_spec
from tilecast.models.workload import Workload, check_positions, usual_length, workload


def trace(
    model: nn.Module | ModelSpec | Mapping[str, Any] | str | Path,
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
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    tp: int = 1,
    ep: int = 1,
) -> KernelGraph:
    """The kernels of one step of `model`: a configuration (name, file, mapping) or a module with example `inputs`.

    `training` is forward, backward from given output gradients, accumulation into present gradients, and the
    optimizer where one is named. `decode` is one token a sequence after `context` cached ones. Example inputs are
    tensors on any device, meta included: only their shapes and dtypes are used. With `tp` or `ep` ranks, it is
    one rank's share of the model that runs.
    """
    if given := isinstance(model, nn.Module):
        name = type(model).__name__
        if inputs is None:
            raise InputError(name, "needs example inputs", "pass inputs=(tensor, ...)")
        if phase == "decode":
            raise InputError(name, "has no known cache", "decode needs a configuration")
        spec = ModelSpec(name, {}, name)
    elif isinstance(model, Mapping):
        spec = model_spec(model, "model", "configuration")
    else:
        spec = model if isinstance(model, ModelSpec) else load_model(model)
    length = 1 if phase == "decode" else usual_length(spec) if sequence_length is None else sequence_length
    asked = {"mode": mode, "phase": phase, "sequence_length": length, "batch_size": batch_size, "context": context}
    asked |= {"dtype": dtype, "attention": attention}
    work = workload({"model": spec, "optimizer": optimizer} | asked, spec.source)
    routing = parse_routing(routing) if isinstance(routing, str) else routing
    if isinstance(model, nn.Module):
        module, length = model, sequence_length or 0
    else:
        module = build(spec, mode, dtype, attention)
        if tp * ep > 1:
            cut(module, tp, ep)
        if getattr(module, "main_input_name", "") == "pixel_values":
            length = 0
        else:
            check_positions(spec, length, context)
    about = {"model": spec.name, **asked, "sequence_length": length, "routing": str(routing)}
    about |= {
        "optimizer": optimizer or "none",
        "parameters": sum(weight.numel() for weight in module.parameters()),
    }
    recorder = Recorder(module, dtype)
    was_training = module.training
    try:
        with contextlib.ExitStack() as stack:
            fake = stack.enter_context(_fake(module))
            stack.enter_context(_one_kernel_each(attention))
            stack.enter_context(routed(module, routing, batch_size))
            stack.enter_context(as_engines_run(module, context > 0, attention == "fused", mode == "training"))
            stack.enter_context(offline())
            module.train(mode == "training")
            arguments = _example(inputs, fake, DTYPES[dtype]) if given else {}
            with recorder.watching():
                if not given:
                    arguments = _arguments(module, work, recorder)
                _run(module, recorder, arguments, mode == "training")
            if optimizer is not None and mode == "training":
                _optimize(module, recorder, optimizer, dtype)
    except TilecastError:
        raise
    except Exception as error:  # a model's own code may raise anything
        raise _untraceable(error, recorder, spec.source) from error
    finally:
        if given:
            module.train(was_training)
    return fold(about, recorder.launches)


def parameters(spec: ModelSpec, mode: str, dtype: str, attention: str, tp: int, ep: int) -> list[Launch]:
    """One launch for each parameter, as AdamW's step would be."""
    module = build(spec, mode, dtype, attention)
    if tp * ep > 1:
        cut(module, tp, ep)
    recorder = Recorder(module, dtype)
    _optimize(module, recorder, "adamw", dtype)
    return recorder.launches


@contextlib.contextmanager
def _fake(module: nn.Module) -> Iterator[FakeTensorMode]:
    """Within: parameters, buffers and tensor attributes of `module` are fake; afterwards all is as it was."""
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(
        logging.CRITICAL
    )  # an error here is told in one line
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    stand_ins: dict[int, Tensor] = {}

    def stand_in(tensor: Tensor) -> Tensor:
        if id(tensor) not in stand_ins:
            with mode:
                fake: Tensor = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
            if isinstance(tensor, nn.Parameter):
                fake = nn.Parameter(fake, requires_grad=tensor.requires_grad)
            stand_ins[id(tensor)] = fake
        return stand_ins[id(tensor)]

    places: list[tuple[dict[str, Any], str, Any]] = [
        (holder, name, value)
        for part in module.modules()
        for holder in (part._parameters, part._buffers, part.__dict__)
        for name, value in holder.items()
        if isinstance(value, Tensor)
    ]
    collecting = gc.isenabled()
    gc.disable()  # a collection walks all of transformers: a third of the time
    try:
        for holder, name, value in places:
            holder[name] = stand_in(value)
        with mode:
            yield mode
    finally:
        for holder, name, value in places:
            holder[name] = value
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _one_kernel_each(attention: str) -> Iterator[None]:
    """Within: what a GPU runs as one kernel is one operation: dropout, RMS norm, attention if it is to be."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return torch.native_dropout(input, p, True)[0] if training and p > 0 else input

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:  # the real one cannot swap fake parameters
        dtype = torch._C._nn._parse_to(*args, **kwargs)[1]
        for part in module.modules():
            for name, old in part._parameters.items():
                if old is not None and old.is_floating_point() and dtype not in (None, old.dtype):
                    part._parameters[name] = nn.Parameter(torch.empty_like(old, dtype=dtype), old.requires_grad)
        return module

    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(nn.functional, "dropout", dropout))
            stack.enter_context(mock.patch.object(nn.Module, "to", to))
            stack.enter_context(mock.patch.object(nn.functional, "rms_norm", one_rms_norm))
            if attention == "fused":
                patch = mock.patch.object(nn.functional, "scaled_dot_product_attention", fused_attention)
                stack.enter_context(patch)
            else:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


def _example(inputs: Any, fake: FakeTensorMode, dtype: torch.dtype) -> dict[str, Any] | list[Any]:
    def stand_in(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with fake:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu")

    shaped = tree_map(stand_in, inputs)
    return dict(shaped) if isinstance(shaped, Mapping) else list(shaped)


def _arguments(module: Any, work: Workload, recorder: Recorder) -> dict[str, Any]:
    """What the model is called with; for a decode step, the cache of a prefill that is run but not recorded."""
    spec, batch, length, context = work.spec, work.batch_size, work.sequence_length, work.context
    config: Any = getattr(module, "config", None)
    name = getattr(module, "main_input_name", "input_ids")
    if name == "pixel_values":
        size = spec.values.get("image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        number = next(
            (weight.dtype for weight in module.parameters() if weight.is_floating_point()), torch.float32
        )
        images = torch.empty(batch, spec.values.get("num_channels", 3), height, width)
        return {name: images.to(number)}
    if name != "input_ids":
        remedy = "trace it as an nn.Module with example inputs"
        raise InputError(spec.source, f"takes `{name}`, of unknown shape", remedy)

    def tokens(count: int) -> Tensor:
        return torch.zeros(batch, count, dtype=torch.long)

    pair = bool(getattr(config, "is_encoder_decoder", False))
    if work.phase == "prefill" or context == 0:
        return {"input_ids": tokens(length)} | ({"decoder_input_ids": tokens(length)} if pair else {})
    with torch.no_grad():
        if pair:
            from transformers.cache_utils import DynamicCache, EncoderDecoderCache

            cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
            start = {"encoder_outputs": module.get_encoder()(input_ids=tokens(context)), "past_key_values": cache}
            module(decoder_input_ids=tokens(context), **start)
            step = {**start, "decoder_input_ids": tokens(1)}
        else:
            cache = getattr(module(input_ids=tokens(context), use_cache=True), "past_key_values", None)
            step = {"input_ids": tokens(1), "past_key_values": cache, "use_cache": True}
    if cache is None:
        raise InputError(spec.source, f"{type(module).__name__} keeps no key-value cache", "use phase prefill")
    recorder.own_cache(_cached(cache))
    return step


def _cached(cache: Any) -> list[Tensor]:
    """Keys and values held by a transformers cache."""
    names = ("self_attention_cache", "cross_attention_cache")  # of an encoder-decoder
    halves = [getattr(cache, name) for name in names if hasattr(cache, name)]
    layers = [layer for part in halves or [cache] for layer in part.layers]
    held = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
    return [tensor for tensor in held if isinstance(tensor, Tensor)]


def _run(module: nn.Module, recorder: Recorder, arguments: Any, training: bool) -> None:
    with torch.set_grad_enabled(training), recorder.recording("forward"):
        result = module(**arguments) if isinstance(arguments, dict) else module(*arguments)
    if not training:
        return
    outputs = [tensor for tensor in _outputs(result) if isinstance(tensor, Tensor) and tensor.requires_grad]
    if not outputs:
        raise InputError(type(module).__name__, "has no output that needs a gradient", "trace it for inference")
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    recorder.own_gradients(module)
    gradients = [torch.empty_like(output) for output in outputs]
    with recorder.recording("backward"):
        torch.autograd.backward(outputs, gradients)


def _outputs(result: Any) -> list[Any]:
    """The tensors a loss would be computed from: logits where the model names some, else all it returns."""
    if hasattr(result, "items"):
        named = {key: value for key, value in result.items() if isinstance(value, Tensor)}
        logits = [value for key, value in named.items() if key.endswith("logits") and "router" not in key]
        if logits:
            return logits
        if "last_hidden_state" in named:
            return [named["last_hidden_state"]]
    return list({id(leaf): leaf for leaf in tree_leaves(result)}.values())


def _optimize(module: nn.Module, recorder: Recorder, optimizer: str, dtype: str) -> None:
    """One fused kernel a parameter, as torch.optim's `fused=True`: state in the parameter's own format."""
    reads, writes, flops = OPTIMIZERS[optimizer]
    plain = "fp32" if dtype == "tf32" else dtype
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            count, size = parameter.numel(), parameter.nbytes
            work = (1, count, 0, 0, reads, flops * count, reads * size, writes * size)
            recorder.add(Kernel("elementwise", optimizer, "optimizer", plain, *work), name.rpartition(".")[0])


def _untraceable(error: Exception, recorder: Recorder, source: str) -> InputError:
    """One line for a model that failed while it ran: which module, why, and the way out."""
    kind, where = type(error).__name__, f"{source}: module {recorder.where}"
    words = str(error).strip().split("\n")[0][:200]
    if kind in ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode"):
        problem = f"cannot be traced: the result of {words.split(' ')[0]} depends on the data, not on shapes alone"
        remedy = "give that module a forward of fixed sizes, or trace the parts around it as modules of their own"
        return InputError(where, problem, remedy)
    problem = f"failed while it was traced ({kind}: {words})"
    return InputError(where, problem, "check that it runs on inputs of this shape")
