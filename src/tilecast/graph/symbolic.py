"""Kernel lists in symbolic form: one record of a model's kernels serves every batch, length, width and degree.

A record is a program of launches and loops (over layers, over experts). Every number in it is a formula of the
letters below, such as `4BSH`; those of tensors and of modules also depend on the loops' indices `i` and `j`.
What a model launches changes where a size is one, or tokens do not divide by the experts: `conditions` names
these cases, each of which has its record. `tilecast.graph.learn` writes records from traces; this module needs
no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilecast.base.errors import InputError
from tilecast.graph.kernels import Kernel, Launch, Wire
from tilecast.models.architecture import NAMES, architecture
from tilecast.models.registry import LAYER_KEYS, ModelSpec

LETTERS = {
    "B": "sequences", "S": "tokens of each", "T": "S + 1", "C": "tokens in the cache", "K": "C + 1",
    "L": "layers", "H": "hidden size", "h": "heads of a rank", "g": "key-value heads of a rank", "n": "h / g",
    "d": "head width",
    "F": "feed-forward width of a rank", "V": "vocabulary of a rank", "P": "positions", "O": "P + 2",
    "W": "window",
    "E": "experts", "x": "experts of a rank", "k": "experts a token takes",
    "m": "E / k, rounded up", "q": "whole tokens an expert gets",
    "u": "q + 1", "r": "experts that get one token more", "w": "experts that do not",
}  # fmt: skip
# Dimensions that are letters; all else that a configuration says must be as it was when the record was learnt.
_FREE = ("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "expert_ffn", "vocab", "positions", "experts",
         "top_k", "sparse_decoder", "sparse_encoder")  # fmt: skip
FREE_KEYS = frozenset(key for name in _FREE for key in NAMES[name]) | set(LAYER_KEYS)
# What decides no kernel: identifiers of words, constants in a formula, how weights are drawn or stored.
_IGNORED = re.compile(
    r"architectures|.*_token_id|.*_eps(ilon)?|rope_theta|initializer_range|transformers_version|_name_or_path|"
    r"torch_dtype|dtype|use_cache|num_nextn_predict_layers"
)
TENSOR_CORES = ("linear", "bmm", "conv", "attention")  # families that compute in TF32 where a model is asked in it
# name -> (tensors read, tensors written, FLOPs) per parameter element: one fused kernel a parameter
OPTIMIZERS = {"sgd": (2, 1, 2), "momentum": (3, 2, 4), "adam": (4, 3, 12), "adamw": (4, 3, 14)}


class NotCovered(Exception):
    """A question that a record does not answer."""


@dataclass(frozen=True)
class Question:
    """What the kernels are asked of: one step of a model, or of one rank's share of it."""

    mode: str = "inference"
    phase: str = "prefill"
    sequence_length: int = 1
    batch_size: int = 1
    context: int = 0
    dtype: str = "fp32"
    attention: str = "eager"
    optimizer: str | None = None
    tp: int = 1
    ep: int = 1

    @property
    def kind(self) -> str:
        """What a record is of; half-precision formats share one, fp32 and TF32 another."""
        phase = "decode" if self.context else self.mode
        return f"{phase} {self.attention} {'whole' if self.dtype in ('fp32', 'tf32') else 'half'}"


def fixed(spec: ModelSpec) -> dict[str, Any]:
    """What a configuration says beside its dimensions: models that agree in it share records."""
    count = next((spec.values[key] for key in LAYER_KEYS if key in spec.values), 0)
    values = {key: _each(value, count) for key, value in spec.values.items() if not _IGNORED.fullmatch(key)}
    rest = {key: value for key, value in values.items() if key not in FREE_KEYS}
    free = sorted(key for key in values.keys() & FREE_KEYS if values[key] is not None)
    scaling = rest.get("rope_scaling")
    if isinstance(scaling, dict) and scaling.get("rope_type") == "llama3":  # it scales a table made beforehand
        del rest["rope_scaling"]
    if rest.get("word_embed_proj_dim") == values.get("hidden_size"):
        rest.pop("word_embed_proj_dim", None)
    if free:
        rest["tilecast_dimensions"] = free
    layers = {values[key] for key in LAYER_KEYS if key in values}
    sparse = [values[key] for key in values if key.startswith("num_sparse_")]
    if len(layers) > 1 or sparse:
        rest["tilecast_layers"] = sorted({layers / max(1, count) for layers in layers for count in sparse})
    return rest


def _each(value: Any, layers: Any) -> Any:
    """What a configuration says of every layer, where it says the same of all: of however many there are."""
    if isinstance(value, list) and value and len(value) == layers:
        return (
            "all layers"
            if value == list(range(layers))
            else value[0]
            if value.count(value[0]) == layers
            else value
        )
    return value


def dimensions(spec: ModelSpec) -> dict[str, Any]:
    """The dimensions that a record of one model alone holds for."""
    return {key: spec.values[key] for key in sorted(FREE_KEYS & set(spec.values)) if key not in LAYER_KEYS}


def letters(spec: ModelSpec, question: Question) -> dict[str, int]:
    """The value of every letter that the model has."""
    batch, length, tp, ep = question.batch_size, question.sequence_length, question.tp, question.ep
    found = {"B": batch, "S": length, "T": length + 1}
    if question.context:
        found |= {"C": question.context, "K": question.context + 1}
    try:
        model = architecture(spec)
    except InputError:  # no transformer
        if tp * ep > 1:
            raise NotCovered from None
        return found
    keys = math.gcd(tp, model.kv_heads)  # ranks beyond the key-value heads hold copies
    widths = (model.heads, model.ffn, model.hidden)
    if any(width % tp for width in widths) or model.experts % ep or (ep > 1 and not model.experts):
        raise NotCovered
    heads, pairs = model.heads // tp, model.kv_heads // keys
    if heads % pairs:
        raise NotCovered
    found |= {
        "L": model.layers, "H": model.hidden, "h": heads, "g": pairs, "n": heads // pairs,
        "d": model.head_dim, "F": model.ffn // tp, "V": -(-model.vocab // tp),
    }  # fmt: skip
    if spec.positions:
        found |= {"P": spec.positions, "O": spec.positions + 2}
    chunk = spec.values.get("chunk_size")
    if model.scanning and length > 1 and not (type(chunk) is int and length % chunk == 0):
        raise NotCovered  # a last chunk that is not whole
    if window := next((spec.values[key] for key in NAMES["window"] if spec.values.get(key)), 0):
        found["W"] = window  # masks are made of it even where no layer has one
    if model.expert_layers:
        tokens, own = batch * length * model.top_k, model.experts // ep
        q, r = divmod(tokens, own)
        capacity = spec.values.get("expert_capacity")
        if capacity and q >= capacity * batch:
            raise NotCovered  # experts drop tokens
        found |= {
            "E": model.experts,
            "x": own,
            "k": model.top_k,
            "m": -(-model.experts // max(1, model.top_k)),
            "q": q,
            "u": q + 1,
            "r": r,
            "w": own - r,
        }
    return found


def conditions(values: Mapping[str, int]) -> str:
    """The cases in which other kernels run: sizes of one, as many key-value heads as heads, how tokens divide."""
    ones = [f"{letter}=1" for letter in "BSCHhdgF" if values.get(letter) == 1]
    if values.get("g") == values.get("h") and "h" in values:
        ones.append("g=h")
    if values.get("W", math.inf) <= max(values["S"] - 1, values.get("C", 0)):
        ones.append("S>W")
    if "x" in values:
        ones += [f"{letter}={value}" for letter, value in (("r", 0), ("q", 0)) if values[letter] == value]
        ones += [f"{letter}=1" for letter in "rw" if values["r"] and values[letter] == 1]
    return " ".join(ones)


def part_of(asked: Question) -> str:
    """Whether the whole model is asked for or a rank's share; where they are built otherwise, each has records."""
    return "cut" if asked.tp * asked.ep > 1 else "whole"


# ---------------------------------------------------------------- formulas


@dataclass(frozen=True)
class Formula:
    """A sum of products of letters with rational factors: `12+4BSH-1/2dL`."""

    terms: tuple[tuple[int, int, str], ...]  # numerator, denominator, letters

    @classmethod
    def parse(cls, text: str) -> Formula:
        """The formula that a text writes."""
        found = re.findall(r"([+-]?)(\d*)(?:/(\d+))?([A-Za-z]*)", text)
        parts = [part for part in found if any(part)]
        return cls(
            tuple((int(f"{sign}{size or 1}"), int(under or 1), names) for sign, size, under, names in parts)
        )

    def at(self, values: Mapping[str, int]) -> tuple[int, int, int]:
        """What is constant in it, and its steps with `i` and with `j`; NotCovered where that is no whole
        number."""
        found = {"": 0, "i": 0, "j": 0}
        for over, under, names in self.terms:
            index = names[-1:] if names[-1:] in ("i", "j") else ""
            product = over
            for letter in names.removesuffix(index):
                product *= values[letter]
            if product % under:
                raise NotCovered
            found[index] += product // under
        return found[""], found["i"], found["j"]


def flops(family: str, dims: Sequence[int]) -> int:
    """FLOPs of one kernel by its dimensions, where nothing else is known."""
    b, m, n, k = dims
    each = {"softmax": 5, "norm": 6, "memory": 0}.get(family, 1)
    return 2 * b * m * n * k if family in ("linear", "bmm", "conv") else each * b * m


# ---------------------------------------------------------------- programs


class Program:
    """Reads the records of a file.

    A record's nodes are launches [kernel, wires] and loops [count, nodes]. Every number is an index: of the
    tables, or of a formula. A row of `kernels` is [head, module, module's numbers, (b, m, n, k), operands, work
    or null]: the head names family, operation, phase and number format; `work` is FLOPs, bytes read and written
    where they do not follow from dimensions and wires. A row of `wires` is what is read and what is written:
    [bytes] where a tensor is seen first, else [bytes, how many tensors ago it was].
    """

    def __init__(self, file: Mapping[str, Any]) -> None:
        self.file = file
        self.formulas: dict[int, Formula] = {}

    def launches(self, record: Sequence[Any], values: Mapping[str, int]) -> list[Launch]:
        """The launches of a record where the letters have `values`; NotCovered where it does not hold."""
        self.known: dict[tuple[str, int], Any] = {}
        self.values, self.count, self.found = values, 0, list[Launch]()
        self._run(record, (0, 0), 0)
        return self.found

    def _at(self, place: int) -> tuple[int, int, int]:
        """The value of a formula, and its steps with the loops' indices."""
        key = ("formula", place)
        if key not in self.known:
            if place not in self.formulas:
                self.formulas[place] = Formula.parse(self.file["formulas"][place])
            self.known[key] = self.formulas[place].at(self.values)
        return self.known[key]

    def _run(self, nodes: Sequence[Any], at: tuple[int, int], depth: int) -> None:
        for first, second in nodes:
            if isinstance(second, list):
                times, *steps = self._at(first)
                if times < 0 or any(steps):
                    raise NotCovered
                for index in range(times):
                    self._run(second, (at[0], index) if depth else (index, 0), depth + 1)
                continue
            key = (first, second)
            if key not in self.known:
                self.known[key] = self._launch(*key)
            kernel, module, numbers, reads, writes = self.known[key]
            if numbers:
                module = module.format(*(base + step * at[0] + more * at[1] for base, step, more in numbers))
            self.found.append(Launch(kernel, module, self._wires(reads, at), self._wires(writes, at)))

    def _launch(self, kernel: int, wires: int) -> tuple[Any, ...]:
        head, module, numbers, dims, operands, work = self.file["kernels"][kernel]
        family, op, phase, dtype = self.file["heads"][head].split(" ")
        sizes = tuple(self._at(dim)[0] for dim in dims)
        reads, writes = (
            [(self._at(size)[0], self._at(ago[0]) if ago else None) for size, *ago in side]
            for side in self.file["wires"][wires]
        )
        worked = [flops(family, sizes), sum(size for size, _ in reads), sum(size for size, _ in writes)]
        for place, stated in enumerate(work or ()):
            if stated is not None:
                worked[place] = self._at(stated)[0]
        launched = Kernel._make((family, op, phase, dtype, *sizes, self._at(operands)[0], *worked))
        places = [self._at(number) for number in numbers]
        return launched, self.file["modules"][module], places, reads, writes

    def _wires(self, side: list[Any], at: tuple[int, int]) -> tuple[Wire, ...]:
        found = []
        for size, ago in side:
            if ago is None:
                self.count += 1
                found.append(Wire(self.count, size))
            else:
                found.append(Wire(self.count - ago[0] - ago[1] * at[0] - ago[2] * at[1], size))
        return tuple(found)
