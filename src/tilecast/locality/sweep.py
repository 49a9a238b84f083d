"""A study changed by words such as `gpu_ids=[0,1] samples=500 depth=2,4`, as the guide's commands change it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError
from tilecast.base.limits import check
from tilecast.locality.guide import NO_OP, sample_bytes
from tilecast.locality.study import Study, load_study

# the guide's keys, without what stands before the last dot -> the study's
KEYS = {
    "gpu_ids": "gpus", "gpus": "gpus", "numa_nodes": "nodes", "nodes": "nodes", "models": "models",
    "dtypes": "dtypes", "compile_model": "compiled", "compiled": "compiled",
}  # fmt: skip
SIZES = {"num_samples": "samples", "samples": "samples"} | {
    name: name
    for name in ("batch_size", "warmup", "repetitions", "timeout_s", "seed", "binding", "memory_size_mb")
}
SHAPE = ("patch_size", "depth", "dim")  # the numbers of a model's name, in order
MEGABYTE = 1e6


def changed(name: str | Path, words: Iterable[str]) -> list[tuple[str, Study]]:
    """The studies that the words make of one: lists are swept within it, a size with several values makes several.

    Each with its label, such as `batch_size=20`; empty where there is but one.
    """
    given = _read(words)
    base = load_study(name)
    changes: dict[str, Any] = {key: values for key, values in given.items() if key in KEYS.values()}
    if shapes := {key: values for key, values in given.items() if key in SHAPE}:
        if "models" in changes:
            raise InputError("models", f"are given beside {', '.join(shapes)}", "give the one or the other")
        changes["models"] = _shaped([model for arm in base.models.values() for model in arm], shapes)
    sizes = {key: values for key, values in given.items() if key in SIZES.values()}
    if {"batch_size", "memory_size_mb"} <= set(sizes):
        raise InputError("memory_size_mb", "is the size of a batch, as batch_size is", "give one")
    found = []
    for values in product(*sizes.values()):
        chosen = dict(zip(sizes, values, strict=True))
        swept = [f"{key}={value}" for key, value in chosen.items() if len(sizes[key]) > 1]
        if (megabytes := chosen.pop("memory_size_mb", None)) is not None:
            chosen["batch_size"] = _batch(megabytes)
        found.append((",".join(swept), load_study(name, changes | chosen)))
        check("runs", len(found), "the sweep")
    return found


def _read(words: Iterable[str]) -> dict[str, list[Any]]:
    """Key -> values, each list laid out: `numa_nodes=[0],[2]` and `numa_nodes=[0,2]` are the same."""
    found: dict[str, list[Any]] = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip().lstrip("+").rpartition(".")[2]
        if not equals or key not in {*KEYS, *SIZES, *SHAPE}:
            known = f"expected KEY=VALUE with {', '.join(sorted({*KEYS, *SIZES, *SHAPE}))}"
            remedy = "give --fresh to measure anew" if key == "resume" else known
            raise InputError(word[:80], "is no change of a study", remedy)
        key = (KEYS | SIZES).get(key, key)
        if key in found:
            raise InputError(word[:80], "is given twice", "give all its values in one list")
        try:
            values = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            values = [part.strip() for part in text.strip("[]").split(",")]
        found[key] = []
        for value in values:
            more = value if isinstance(value, list) else [value]
            found[key] += [one for one in more if one not in found[key]]
        if not found[key]:
            raise InputError(word[:80], "has no value", "such as samples=500")
    return found


def _shaped(models: list[str], shapes: Mapping[str, list[Any]]) -> list[str]:
    """Every model with each of its numbers replaced by each value given; the no-op has none to replace."""
    found: list[str] = []
    for model in models:
        own = re.findall(r"\d+", model)
        choices = [shapes.get(key, [number]) for key, number in zip(SHAPE, own, strict=True)]
        made = [model] if model == NO_OP else [f"vit{'x'.join(map(str, each))}" for each in product(*choices)]
        found += [name for name in made if name not in found]
    return found


def _batch(megabytes: Any) -> int:
    """Samples of a batch whose buffer takes so many megabytes."""
    if isinstance(megabytes, bool) or not isinstance(megabytes, int | float) or not 0 < megabytes < 1e6:
        raise InputError("memory_size_mb", f"{megabytes} is no size", "give megabytes of a batch, such as 6")
    if megabytes * MEGABYTE < sample_bytes("fp32"):
        least = sample_bytes("fp32") / MEGABYTE
        raise InputError("memory_size_mb", f"{megabytes} holds no sample", f"one takes {least:.2f}")
    return int(megabytes * MEGABYTE // sample_bytes("fp32"))
