"""Upper limits of every number a user gives: anything larger is refused in one line before it is built.

Each is several times what exists. They keep a slip of the keyboard, or a hostile file, from filling the memory.
docs/develop/security.md shows the table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from tilecast.base.documents import shown
from tilecast.base.errors import InputError

MOST: dict[str, tuple[int, str]] = {  # name -> (the most there may be, of what)
    "batch": (1_000_000, "sequences of one step, over all GPUs"),
    "microbatch": (1_000_000, "sequences a GPU works on at a time"),
    "sequence": (100_000_000, "tokens of a sequence or a prompt"),
    "context": (100_000_000, "tokens in the cache"),
    "output": (100_000_000, "tokens of an answer"),
    "gpus": (1_000_000, "GPUs, and ranks of each kind of parallelism"),
    "gpus_per_node": (1_024, "GPUs of a node"),
    "nodes": (100_000, "nodes of a system"),
    "passes": (1_000_000, "microbatches times pieces of a pipeline"),
    "clients": (20_000, "clients that each have a request in flight"),
    "steps": (300_000, "passes of a replay, those alike in a row as one"),
    "layouts": (2_000_000, "layouts that one search tries"),
    "runs": (100_000, "runs of a study, with their repetitions"),
    "samples": (100_000_000, "samples of a run"),
    "threads": (1_024, "threads of a CPU"),
    "each": (10_000, "shapes of a kernel family"),
    "top": (10_000, "layouts listed"),
    "seed": (2**32 - 1, "a seed"),
    "seeds": (99, "trainings, a seed each"),
    "layers": (1_000, "layers of a model, and what else it is a row of: blocks, stages, groups"),
    "experts": (10_000, "experts of a layer"),
    "heads": (16_384, "attention heads of a layer"),
    "vocabulary": (10_000_000, "words a model knows"),
    "positions": (100_000_000, "positions of a model, and tokens of its windows"),
    "labels": (1_000_000, "classes a model distinguishes"),
    "width": (2**20, "any other whole number of a model: hidden sizes, channels, patches"),
}

# A key of a model's configuration -> its limit, the first that fits; an identifier has no limit.
_KEYS: tuple[tuple[str, str], ...] = (
    (r"_ids?$|theta|base$|freq|seed", ""),
    (r"vocab", "vocabulary"),
    (r"size|dim|width", "width"),
    (r"position|length|window|seq|ctx|token", "positions"),
    (r"expert", "experts"),
    (r"layer|block|depth|stage|group|stack|codebook", "layers"),
    (r"head", "heads"),
    (r"label", "labels"),
)
_AMOUNTS = re.compile(  # of one number; a list where a class has one for each stage
    r"n_layer|num_(hidden_)?layers|n_head|num_(attention_)?heads|hidden_size|n_embd|d_model|vocab_size"
)


def check(name: str, value: Any, where: object, least: int | None = None) -> int:
    """`value`, a whole number up to the limit of that name; InputError at `where` if it is not."""
    most, meaning = MOST[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(where, f"{shown(value)} is not a whole number", f"expected one up to {most:,}")
    if value > most:
        raise InputError(where, f"{shown(value)} is more than {most:,}", f"limit of {meaning}")
    if least is not None and value < least:
        raise InputError(where, f"{shown(value)} is too small", f"expected at least {least}")
    return value


def option(name: str, limit: str = "") -> Callable[[str], int]:
    """The `type` of a command's option `--name`: a whole number up to its limit."""

    def parse(text: str) -> int:
        number = int(text) if re.fullmatch(r"\s*[-+]?[0-9]{1,100}\s*", text) else text
        return check(limit or name, number, f"--{name}")

    return parse


def amount(name: str) -> Callable[[str], float]:
    """The `type` of a command's option `--name`: a finite number above zero."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise InputError(f"--{name}", f"{shown(text)} is no number above zero")
        return value

    return parse


def check_model(values: Mapping[str, Any], where: object) -> None:
    """Refuse a model's configuration whose numbers would build forever."""
    for key, value in values.items():
        if _AMOUNTS.fullmatch(str(key)) and value is not None and not isinstance(value, list):
            check(_limit(key), value, f"{where}, `{key}`", least=1)
        _check_value(str(key), value, where)


def _limit(key: str) -> str:
    return next((limit for pattern, limit in _KEYS if re.search(pattern, key)), "width")


def _check_value(key: str, value: Any, where: object) -> None:
    if isinstance(value, Mapping):
        for inner, part in value.items():
            _check_value(str(inner), part, where)
    elif isinstance(value, list):
        for part in value:
            _check_value(key, part, where)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        limit = _limit(key)
        if limit and (isinstance(value, int) or limit != "width") and not value <= MOST[limit][0]:
            most, meaning = MOST[limit]
            raise InputError(where, f"`{key}` = {shown(value)} is more than {most:,}", f"limit of {meaning}")
