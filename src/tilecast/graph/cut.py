"""One rank's share of a model: narrower matrices, fewer heads and experts.

Matrices are cut by columns or rows as Megatron does (arXiv 1909.08053), the vocabulary by rows, stacked experts by
expert.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from tilecast.base.errors import InputError

COLUMNS = {
    "q_proj", "k_proj", "v_proj", "query", "key", "value", "c_attn", "fc1", "c_fc", "gate_proj", "up_proj",
    "qkv_proj", "gate_up_proj", "intermediate.dense",
}  # fmt: skip
ROWS = {"o_proj", "out_proj", "c_proj", "fc2", "down_proj", "output.dense"}
WORDS = {"embed_tokens", "wte", "word_embeddings", "lm_head", "decoder"}
UNCUT = 0.05  # share of a model's matrices that may stay whole: routers, a classifier's head
_DIVIDED = ("num_heads", "num_attention_heads", "all_head_size", "split_size", "num_key_value_heads")


def cut(model: nn.Module, tp: int, ep: int) -> None:
    """Make `model`, built on the meta device, one rank's share: narrower matrices, fewer heads and experts."""
    done: dict[int, Any] = {}
    whole: dict[str, int] = {}  # matrices that stay as they are: elements
    every = 0

    def narrowed(parameter: Any, *cuts: tuple[int, int]) -> Any:  # (axis, into how many parts)
        if id(parameter) not in done:  # a tied matrix is cut once
            size = list(parameter.shape)
            for axis, parts in cuts:
                if axis < len(size):
                    size[axis] = math.ceil(size[axis] / parts)
            done[id(parameter)] = nn.Parameter(torch.empty(size, dtype=parameter.dtype, device=parameter.device))
        return done[id(parameter)]

    for name, module in model.named_modules():
        last, two = name.rpartition(".")[2], ".".join(name.split(".")[-2:])
        own = module._parameters
        if any(parameter is not None and parameter.dim() == 3 for parameter in own.values()):
            # Stacked experts: [expert, outputs, inputs], or [expert, inputs, outputs].
            first = next(
                (p.shape for key, p in own.items() if p is not None and p.dim() == 3 and _widens(key)), None
            )
            hidden = getattr(model.config, "hidden_size", 0)
            turned = first is not None and first[1] == hidden != first[2]
            for key, parameter in own.items():
                if parameter is not None:
                    axis = 1 if _widens(key) != (turned and parameter.dim() == 3) else 2
                    own[key] = narrowed(parameter, (0, ep), (axis, tp))
            continue
        weight = own.get("weight")
        if weight is None or weight.dim() != 2:
            continue
        if not isinstance(module, nn.Embedding):
            every += weight.numel()
        if last in WORDS:
            own["weight"] = narrowed(weight, (0, tp))
            if own.get("bias") is not None:
                own["bias"] = narrowed(own["bias"], (0, tp))
            continue
        across = last in COLUMNS or two in COLUMNS
        if not across and last not in ROWS and two not in ROWS:
            if not isinstance(module, nn.Embedding):
                whole[name] = weight.numel()
            continue
        flipped = type(module).__name__ == "Conv1D"  # [inputs, outputs]
        keys = last in ("k_proj", "v_proj", "key", "value")
        parts = _parts(model, tp) if keys else tp
        own["weight"] = narrowed(weight, (int(across == flipped), parts))
        if across and own.get("bias") is not None:
            own["bias"] = narrowed(own["bias"], (0, parts))
        if across and flipped:
            module.__dict__["nf"] = module.__dict__["nf"] // tp
    if tp > 1 and sum(whole.values()) > UNCUT * every:
        largest = max(whole, key=lambda name: whole[name])
        problem = f"cannot be cut over {tp} tensor-parallel ranks: {largest} is no matrix that is known here"
        raise InputError(type(model).__name__, problem, "use tp 1")
    for module in model.modules():
        if any(child in COLUMNS for child in module._modules):
            for key, parameter in module._parameters.items():  # a number for each head: attention sinks
                if parameter is not None and parameter.shape == (getattr(model.config, "num_attention_heads", 0),):
                    module._parameters[key] = narrowed(parameter, (0, tp))
            _fewer_heads(module, model, tp)


def _widens(key: str) -> bool:
    """Whether an expert's parameter belongs to its first products, those that read the hidden state."""
    return "up" in key or "gate" in key


def _parts(model: Any, tp: int) -> int:
    """Into how many a key or value matrix is cut: ranks beyond the key-value heads hold copies."""
    return math.gcd(tp, int(getattr(model.config, "num_key_value_heads", None) or tp))


def _fewer_heads(module: Any, model: Any, tp: int) -> None:
    for key in _DIVIDED:
        value = module.__dict__.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            module.__dict__[key] = max(1, value // tp)
    if "num_key_value_groups" in module.__dict__:
        heads, kv = model.config.num_attention_heads, model.config.num_key_value_heads
        module.num_key_value_groups = (heads // tp) // (kv // _parts(model, tp))
