"""One rank's share of a model: narrower matrices, fewer heads and experts.

Matrices are cut by columns or rows as Megatron does (arXiv 1909.08053), the vocabulary by rows, stacked experts by
expert, a state space by heads and groups. Which matrix is cut how follows from shapes and places, not from names:
in a block of a layer the last matrix that writes the hidden state is cut by rows, those before it by columns. A
matrix whose output is normed and widened again (latent attention), a router and norms stay whole: each rank has a
copy.
"""

from __future__ import annotations

import copy
import math
import re
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tilecast.base.errors import InputError

UNCUT = 0.05  # share of a model's matrices that may stay whole beside copies with a name: a classifier's head
# A module's whole numbers that count what ranks share out.
_DIVIDED = (
    "num_heads", "n_heads", "num_attention_heads", "all_head_size", "split_size", "num_key_value_heads",
    "num_kv_heads",
)  # fmt: skip
# And of a state space's or a linear attention's.
_MIXED = (
    "num_heads", "n_groups", "intermediate_size", "conv_dim", "num_v_heads", "num_k_heads", "key_dim", "value_dim",
)  # fmt: skip


class _Cut:
    """A model being cut, and what has stayed whole."""

    def __init__(self, model: Any, tp: int, ep: int) -> None:
        self.model, self.tp, self.ep, self.config = model, tp, ep, getattr(model, "config", None)
        words = model.get_input_embeddings().weight
        self.vocab, self.hidden = words.shape
        self.heads = self._number("num_attention_heads", "n_heads", "n_head")
        self.keys = _key_heads(self.config, self.heads)
        self.width = self._number("head_dim") or self.hidden // max(self.heads, 1)
        self.done: dict[int, Any] = {}
        self.copies: dict[str, int] = {}  # matrices that every rank holds by design: elements
        self.whole: dict[str, int] = {}  # matrices nobody could place
        self.every = 0

    def _number(self, *names: str) -> int:
        return next((int(found) for name in names if (found := getattr(self.config, name, None))), 0)

    def narrowed(self, parameter: Any, *sizes: tuple[int, int]) -> Any:
        """The parameter with other sizes, (axis, size); a tied one is cut once."""
        if id(parameter) not in self.done:
            size = list(parameter.shape)
            for axis, length in sizes:
                if axis < len(size):
                    size[axis] = length
            made = nn.Parameter(torch.empty(size, dtype=parameter.dtype, device=parameter.device))
            self.done[id(parameter)] = parameter, made  # both: a number of what is gone would be given again
        return self.done[id(parameter)][1]

    def part(self, length: int) -> int:
        """A rank's part of so many columns or rows."""
        return math.ceil(length / self.tp)

    def columns(self, outputs: int, beside: list[int]) -> int:
        """A rank's columns of a matrix; of queries, keys and values in one, or of keys alone, whole heads."""
        queries, keys = self.heads * self.width, self.keys * self.width
        own = max(self.keys // self.tp, 1) * self.width
        if self.keys < self.heads:
            if outputs == queries + 2 * keys and keys not in beside:
                return queries // self.tp + 2 * own
            if outputs == keys and any(other % queries == 0 for other in beside):
                return own
        return self.part(outputs)

    def experts(self, module: nn.Module) -> None:
        """Stacked experts: [expert, outputs, inputs], or [expert, inputs, outputs]."""
        own = module._parameters
        first = next((p.shape for key, p in own.items() if p is not None and p.dim() == 3 and _widens(key)), None)
        turned = first is not None and first[1] == self.hidden != first[2]
        for key, parameter in own.items():
            if parameter is not None:
                axis = 1 if _widens(key) != (turned and parameter.dim() == 3) else 2
                sizes = [(0, math.ceil(parameter.shape[0] / self.ep))]
                sizes += [(axis, self.part(parameter.shape[axis]))] if axis < parameter.dim() else []
                own[key] = self.narrowed(parameter, *sizes)

    def words(self, module: nn.Module) -> None:
        """The vocabulary, of the embedding or the head."""
        for key in ("weight", "bias"):
            if (parameter := module._parameters.get(key)) is not None:
                module._parameters[key] = self.narrowed(parameter, (0, self.part(parameter.shape[0])))

    def block(self, name: str, block: nn.Module) -> bool:
        """The matrices that one module of a layer holds; whether any was cut by columns."""
        found = {key: child for key, child in block._modules.items() if child is not None and _is_matrix(child)}
        every = {key: _sizes(child) for key, child in found.items()}
        latent = set() if any(map(_mixes, block.children())) else self._latent(block, every)
        read = {inputs for inputs, _ in every.values()}  # a router's outputs are read by no matrix beside it
        small = [
            key for key, (_, outs) in every.items() if outs == 1 or (outs == self._routed() and outs not in read)
        ]
        placed = [key for key in every if key not in latent and key not in small]
        writes = [key for key in placed if every[key][1] == self.hidden]
        square = [key for key in placed if every[key] == (self.hidden, self.hidden)]
        apart = len(square) == len(placed) == 3  # queries, keys and values of a block whose output lies elsewhere
        row = writes[-1] if writes and not apart else None
        beside = [every[key][1] for key in placed if key != row]
        columns = False
        for key, child in found.items():
            path, weight = f"{name}.{key}", child._parameters["weight"]
            assert weight is not None
            self.every += weight.numel()
            across = 1 if type(child).__name__ == "Conv1D" else 0  # [inputs, outputs]
            inputs, outputs = every[key]
            if key in latent or key in small:
                self.copies[path] = weight.numel()
            elif key == row:
                child._parameters["weight"] = self.narrowed(weight, (1 - across, self.part(inputs)))
            else:
                columns, length = True, self.columns(outputs, beside)
                child._parameters["weight"] = self.narrowed(weight, (across, length))
                if (bias := child._parameters.get("bias")) is not None:
                    child._parameters["bias"] = self.narrowed(bias, (0, length))
                if across:
                    child.__dict__["nf"] = length
                self._norms(block, outputs, length)
        return columns

    def _routed(self) -> int:
        return self._number("num_local_experts", "num_experts", "n_routed_experts")

    def _latent(self, block: nn.Module, every: dict[str, tuple[int, int]]) -> set[str]:
        """Matrices that narrow the hidden state to a latent one: a norm follows, and a matrix that reads it."""
        found, children = set(), [child for child in block._modules.items() if child[1] is not None]
        for (key, _), (_, norm) in pairwise(children):
            weight = norm._parameters.get("weight")
            if key in every and weight is not None and weight.dim() == 1 and weight.shape[0] != self.hidden:
                found |= {key} if any(inputs == weight.shape[0] for inputs, _ in every.values()) else set()
        return found

    def _norms(self, block: nn.Module, outputs: int, length: int) -> None:
        """Norms over all columns of a matrix beside them: each rank's over its own."""
        for child in block._modules.values():
            if child is None or _is_matrix(child) or outputs <= self.width:
                continue
            for key, parameter in child._parameters.items():
                fresh = not any(parameter is made for _, made in self.done.values())
                if parameter is not None and fresh and tuple(parameter.shape) == (outputs,):
                    child._parameters[key] = self.narrowed(parameter, (0, length))

    def mixer(self, module: nn.Module, name: str) -> None:
        """A state space or linear attention: its convolution's channels, and all that counts heads or groups."""
        held, conv = module.__dict__, next(child for child in module.children() if _mixes(child))
        whole = {key: held[key] for key in _MIXED if type(held.get(key)) is int}
        for key, count in whole.items():
            if count % self.tp:
                problem = f"cannot be cut over {self.tp} tensor-parallel ranks: {count} {key} of {name}"
                raise InputError(type(self.model).__name__, problem, "use a tp that divides them")
            held[key] = count // self.tp
        for key in ("groups", "in_channels", "out_channels"):
            conv.__dict__[key] //= self.tp
        norms = [child for child in module.children() if not _is_matrix(child) and child is not conv]
        for holder in (conv, module, *norms):
            for key, parameter in holder._parameters.items():
                if parameter is not None and (holder not in norms or parameter.shape[0] in whole.values()):
                    holder._parameters[key] = self.narrowed(parameter, (0, parameter.shape[0] // self.tp))

    def fewer_heads(self, module: nn.Module, name: str) -> None:
        """A module's counts of heads, and its configuration's."""
        for key, parameter in module._parameters.items():  # a number for each head: attention sinks
            if parameter is not None and tuple(parameter.shape) == (self.heads,):
                module._parameters[key] = self.narrowed(parameter, (0, self.heads // self.tp))
        held = module.__dict__
        for key in _DIVIDED:
            if type(held.get(key)) is int:
                held[key] = max(1, held[key] // self.tp)
        parts = math.gcd(self.tp, self.keys or self.tp)
        if "num_key_value_groups" in held:
            held["num_key_value_groups"] = (self.heads // self.tp) // (self.keys // parts)
        if type(self.config).__name__ == type(held.get("config")).__name__:
            held["config"] = own = copy.copy(held["config"])
            for key in ("num_attention_heads", "num_key_value_heads"):
                if type(own.__dict__.get(key)) is int:
                    own.__dict__[key] = max(1, own.__dict__[key] // self.tp)


def cut(model: nn.Module, tp: int, ep: int) -> None:
    """Make `model`, built on the meta device, one rank's share: narrower matrices, fewer heads and experts."""
    at = _Cut(model, tp, ep)
    holders: list[tuple[str, nn.Module]] = []
    for name, module in list(model.named_modules()):
        own, inside = module._parameters, re.search(r"\.\d+(\.|$)", name)
        if _mixes(module):
            continue  # with its mixer
        if isinstance(module, nn.modules.conv._ConvNd):
            at.every += sum(parameter.numel() for parameter in own.values() if parameter is not None)
            at.whole[name] = sum(parameter.numel() for parameter in own.values() if parameter is not None)
            continue
        if any(parameter is not None and parameter.dim() == 3 for parameter in own.values()):
            at.experts(module)
        elif not inside and (_is_matrix(module) or isinstance(module, nn.Embedding)):
            weight, known = own["weight"], _is_matrix(module)
            assert weight is not None
            at.every += weight.numel() if known else 0
            if at.vocab in weight.shape[:1]:
                at.words(module)
            elif known:
                at.whole[name] = weight.numel()
        holds = inside and any(child is not None and _is_matrix(child) for child in module._modules.values())
        mixer = any(map(_mixes, module.children()))
        if holds and at.block(name, module) and not mixer:
            holders.append((name, module))
        if mixer:
            at.mixer(module, name)
    if tp > 1 and sum(at.whole.values()) > UNCUT * at.every:
        largest = max(at.whole, key=lambda name: at.whole[name])
        problem = f"cannot be cut over {tp} tensor-parallel ranks: {largest} is no matrix that is known here"
        raise InputError(type(model).__name__, problem, "use tp 1")
    for name, module in holders:
        at.fewer_heads(module, name)
    above = {name[:place] for name, _ in holders for place in range(len(name)) if name[place] == "."}
    for name, module in model.named_modules():  # what makes positions for each head
        for key in ("num_heads", "n_heads"):
            if name in above - {held for held, _ in holders} and type(module.__dict__.get(key)) is int:
                module.__dict__[key] //= tp


def _mixes(module: nn.Module) -> bool:
    """Whether a module is the short convolution of a state space or a linear attention: a channel on its own."""
    return isinstance(module, nn.Conv1d) and module.groups == module.in_channels > 1


def _is_matrix(module: nn.Module) -> bool:
    weight = module._parameters.get("weight")
    return (
        weight is not None and weight.dim() == 2 and not isinstance(module, nn.Embedding) and not module._modules
    )


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a matrix."""
    weight = module._parameters["weight"]
    assert weight is not None
    outputs, inputs = weight.shape
    return (outputs, inputs) if type(module).__name__ == "Conv1D" else (inputs, outputs)


def _widens(key: str) -> bool:
    """Whether an expert's parameter belongs to its first products, those that read the hidden state."""
    return "up" in key or "gate" in key


def _key_heads(config: Any, heads: int) -> int:
    """Key-value heads, by the names that configurations give them."""
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return 1
    names = ("num_key_value_heads", "num_kv_heads")
    return next((int(found) for name in names if (found := getattr(config, name, None))), heads)
