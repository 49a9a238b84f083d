"""What engines run where transformers computes otherwise: latent attention, state spaces, Llama-4's mixture.

Each stand-in launches the kernels that serving engines launch, on tensors of the same shapes; nothing is computed.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from tilecast.graph.experts import stacked

LATENT = "tilecast_latent"  # name under which transformers finds attention over latents


@contextlib.contextmanager
def as_engines_run(model: nn.Module, decode: bool, fused: bool, training: bool) -> Iterator[None]:
    """Within: latent attention decodes on its cache, states are scanned by chunks, experts are routed."""
    changed: list[tuple[dict[str, Any], str, Any]] = []
    scanned: dict[str, Any] = {}

    def put(module: nn.Module, name: str, value: Any) -> None:
        changed.append((module.__dict__, name, module.__dict__.get(name)))
        module.__dict__[name] = value

    for module in model.modules():
        if decode and hasattr(module, "expand_kv"):
            own = copy.copy(module.config)
            _register(fused)
            own._attn_implementation = LATENT
            put(module, "config", own)
            put(module, "expand_kv", _kept)
        if not training and any(isinstance(child, nn.Conv1d) for child in module.children()):
            scanned[type(module).__module__] = None
        if _routes_all(module):
            put(module, "forward", _routed(module))
    with contextlib.ExitStack() as stack:
        if decode:
            stack.enter_context(_lengths())
        for name in scanned:
            known = vars(sys.modules[name])
            stack.enter_context(mock.patch.dict(known, {k: v for k, v in _SCANS.items() if k in known}))
        try:
            yield
        finally:
            for held, name, value in reversed(changed):
                if value is None:
                    del held[name]
                else:
                    held[name] = value


@contextlib.contextmanager
def _lengths() -> Iterator[None]:
    """Within: a cache of states alone has a length too; no shape follows from it."""
    from transformers.cache_utils import Cache

    def or_else(asked: Any, otherwise: Any) -> Any:
        def answered(self: Any, *given: Any, **named: Any) -> Any:
            try:
                return asked(self, *given, **named)
            except ValueError:
                return otherwise(*given)

        return answered

    known = {"get_seq_length": lambda *_: 0, "get_mask_sizes": lambda tokens, *_: (tokens, 0)}
    changed = {name: or_else(getattr(Cache, name), otherwise) for name, otherwise in known.items()}
    with mock.patch.multiple(Cache, **changed):
        yield


@torch.library.custom_op("tilecast::kernel", mutates_args=())
def kernel(reads: Sequence[Tensor], op: str, dims: Sequence[int], shape: Sequence[int]) -> Tensor:
    """One kernel that reads tensors: a product of `dims` (b, m, n, k), or elementwise; for its shapes only."""
    raise NotImplementedError("tilecast::kernel is traced, never run")


@kernel.register_fake
def _(reads: Sequence[Tensor], op: str, dims: Sequence[int], shape: Sequence[int]) -> Tensor:
    return reads[0].new_empty(shape)


def _runs(reads: Sequence[Tensor | None], op: str, shape: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    made: Tensor = torch.ops.tilecast.kernel(
        [one for one in reads if one is not None], op, list(dims), list(shape)
    )
    return made


# ---------------------------------------------------------------- latent attention


@torch.library.custom_op("tilecast::latent_attention", mutates_args=())
def latent_attention(query: Tensor, latent: Tensor, width: int) -> Tensor:
    """Attention whose keys are latents and whose values their first `width` columns; for its shapes only."""
    raise NotImplementedError("tilecast::latent_attention is traced, never run")


@latent_attention.register_fake
def _(query: Tensor, latent: Tensor, width: int) -> Tensor:
    return query.new_empty((*query.shape[:-1], width))


def _kept(latent: Tensor, turned: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values as the cache holds them: one row of latent and rotated key a token, written by the cache."""
    return latent.new_empty((*latent.shape[:-1], latent.shape[-1] + turned.shape[-1])), latent


def _register(fused: bool) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def absorbed(module: Any, query: Tensor, latent: Tensor, value: Tensor, *_: Any, **__: Any) -> Any:
        """Keys' and values' up-projections act on queries and outputs instead (DeepSeek-V2, arXiv 2405.04434)."""
        plain, width = module.qk_nope_head_dim, value.shape[-1]
        batch, heads, tokens, _size = query.shape
        up = module.kv_b_proj.weight.view(heads, -1, width)
        narrow = query[..., :plain].permute(1, 0, 2, 3).reshape(heads, batch * tokens, plain)
        wide = torch.bmm(narrow, up[:, :plain]).view(heads, batch, tokens, width).permute(1, 0, 2, 3)
        query = torch.cat((wide, query[..., plain:]), dim=-1)
        if fused:
            out = torch.ops.tilecast.latent_attention(query, latent, width)
        else:
            rows = query.reshape(batch, heads * tokens, -1)
            scores = torch.bmm(rows, latent.squeeze(1).transpose(1, 2)) * module.scaling
            out = torch.bmm(scores.softmax(dim=-1), value.squeeze(1)).view(batch, heads, tokens, width)
        out = out.permute(1, 0, 2, 3).reshape(heads, batch * tokens, width)
        out = torch.bmm(out, up[:, plain:].transpose(1, 2)).view(heads, batch, tokens, -1)
        return out.permute(1, 2, 0, 3), None

    ALL_ATTENTION_FUNCTIONS.register(LATENT, absorbed)


# ---------------------------------------------------------------- state spaces and linear attention


def _convolved(x: Tensor, weight: Tensor, bias: Any = None, activation: Any = None, **_: Any) -> Tensor:
    """A short convolution over tokens and its activation."""
    return _runs((x, weight, bias), "convolve", x.shape)


def _convolved_next(x: Tensor, state: Tensor, weight: Tensor, bias: Any = None, activation: Any = None) -> Tensor:
    """The same for one token, from the last ones."""
    return _runs((x, state, weight, bias), "convolve", x.shape)


def _chunk_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk_size: int, D: Any = None,
    return_final_states: bool = False, **_: Any,
) -> Any:  # fmt: skip
    """Mamba-2's scan by chunks, five kernels as in mamba_ssm (Dao and Gu, arXiv 2405.21060, section 6)."""
    (batch, tokens, heads, width), (groups, size) = x.shape, B.shape[2:]
    chunks, rows = -(-tokens // chunk_size), min(tokens, chunk_size)
    steps = _runs((dt, A), "scan", (batch, tokens, heads))
    many = batch * chunks * heads
    states = _runs((B, x, steps), "scan", (batch, chunks, heads, width, size), (many, width, size, rows))
    passed = _runs((states, steps), "scan", states.shape)
    inner = _runs((C, B), "scan", (batch, chunks, groups, rows, rows), (batch * chunks * groups, rows, rows, size))
    out = _runs((inner, x, steps, C, passed, D), "scan", x.shape, (many, rows, width, rows + size))
    final = x.new_empty((batch, heads, width, size), dtype=torch.float32)
    return (out, final) if return_final_states else out


def _next_state(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Any = None, **_: Any
) -> Any:
    """Mamba-2's step of one token: the state is read and written."""
    return _stepped(state, (x, B, C), x.shape)


def _stepped(state: Tensor, inputs: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    _runs((state, *inputs), "scan", state.shape)
    return inputs[0].new_empty(tuple(shape))


def _delta_scan(
    query: Tensor, key: Tensor, value: Tensor, g: Tensor, beta: Tensor, chunk_size: int = 64,
    initial_state: Any = None, output_final_state: bool = False, **_: Any,
) -> Any:  # fmt: skip
    """The gated delta rule by chunks, as flash-linear-attention runs it (Yang et al., arXiv 2412.06464)."""
    (batch, tokens, heads, width), narrow = value.shape, key.shape[-1]
    chunks, rows = -(-tokens // chunk_size), min(tokens, chunk_size)
    many = batch * chunks * heads
    query, key = (_runs((one,), "norm", one.shape) for one in (query, key))
    decay = _runs((g,), "scan", g.shape)
    inner = _runs((key, decay, beta), "scan", (batch, tokens, heads, rows), (many, rows, rows, narrow))
    solved = _runs((inner,), "scan", inner.shape, (many, rows, rows, rows))
    keys = _runs((solved, key, beta), "scan", (batch, tokens, heads, narrow), (many, rows, narrow, rows))
    values = _runs((solved, value, beta), "scan", value.shape, (many, rows, width, rows))
    states = _runs(
        (keys, values, key, decay), "scan", (batch, chunks, heads, narrow, width), (many, 2 * rows, width, narrow)
    )
    out = _runs(
        (query, key, values, states, decay), "scan", value.shape, (many, rows, width + rows, rows + narrow)
    )
    final = value.new_empty((batch, heads, narrow, width), dtype=torch.float32)
    return out, final if output_final_state else None


def _next_delta(
    query: Tensor, key: Tensor, value: Tensor, g: Tensor, beta: Tensor, initial_state: Tensor, **_: Any
) -> Any:
    """The gated delta rule's step of one token."""
    return _stepped(initial_state, (query, key, value, g, beta), value.shape), initial_state


_SCANS = {
    "causal_conv1d_fn": _convolved,
    "causal_conv1d_update": _convolved_next,
    "mamba2_chunk_scan": _chunk_scan,
    "mamba2_selective_state_update": _next_state,
    "torch_chunk_gated_delta_rule": _delta_scan,
    "torch_recurrent_gated_delta_rule": _next_delta,
}


# ---------------------------------------------------------------- a mixture that transformers computes whole


def _routes_all(module: nn.Module) -> bool:
    """Whether a mixture sends every token to every expert, weighted by zero: Llama-4's."""
    experts = module._modules.get("experts")
    held = isinstance(experts, nn.Module) and isinstance(experts._parameters.get("gate_up_proj"), Tensor)
    return held and not hasattr(experts, "has_gate") and {"router", "shared_expert"} <= set(module._modules)


def _routed(module: Any) -> Any:
    """A forward pass that sends a token to the experts it takes, its weight applied to what they read."""
    experts = module.experts

    def gated(both: Tensor) -> Tensor:
        gate, up = both.chunk(2, dim=-1)
        return up * experts.act_fn(gate)

    def forward(hidden: Tensor) -> tuple[Tensor, Tensor]:
        flat = hidden.reshape(-1, hidden.shape[-1])
        logits = nn.functional.linear(flat, module.router.weight)
        weights, chosen = torch.topk(logits, module.top_k, dim=1)
        sorted_by = SimpleNamespace(
            has_gate=True, is_transposed=True, gate_up_proj=experts.gate_up_proj, down_proj=experts.down_proj,
            _apply_gate=gated,
        )  # fmt: skip
        out = stacked(sorted_by, flat, chosen, torch.sigmoid(weights.float()).to(flat.dtype))
        return module.shared_expert(flat) + out, logits

    return forward
