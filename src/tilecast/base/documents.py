"""YAML, JSON and weights from outside: plain data within limits, or one line that says what is wrong."""

from __future__ import annotations

import json
import math
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tilecast.base.errors import InputError

LARGEST_BYTES = 32 << 20
LARGEST_TENSORS_BYTES = 1 << 30
DEEPEST = 64  # levels of nesting
MOST_VALUES = 2_000_000  # with every alias written out
# What steers a terminal, turns text around, or cannot be written down at all; no name or number needs it.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain data; a key that occurs twice and a number in base 60 (1:30 is ninety) are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for place, key in enumerate(keys) if key in keys[:place])
            raise yaml.constructor.ConstructorError(None, None, f"the key {shown(twice[1])} occurs twice")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        return super().construct_yaml_int(_in_base_10(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        return super().construct_yaml_float(_in_base_10(node))


def _in_base_10(node: yaml.ScalarNode) -> yaml.ScalarNode:
    if ":" in node.value:  # a long one takes minutes to compute
        raise yaml.constructor.ConstructorError(None, None, f"{shown(node.value)} is a number in base 60")
    return node


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


class _ExactLoader(_Loader):
    """The same, but numbers with a point keep the digits they are written with."""

    def construct_exact(self, node: yaml.ScalarNode) -> Any:
        found = super().construct_yaml_float(node)
        return Decimal(node.value) if math.isfinite(found) else found


_ExactLoader.add_constructor("tag:yaml.org,2002:float", _ExactLoader.construct_exact)


def read_yaml(path: str | os.PathLike[str], remedy: str = "", exact: bool = False) -> Any:
    """The content of a YAML file; no tag constructs an object, no alias stands for more than a file can hold.

    With `exact`, a number with a point is a Decimal of the digits written: 8.10 is not 8.1.
    """
    text = read_text(path, remedy)
    try:
        _measure(text, path, remedy)
        return yaml.load(text, Loader=_ExactLoader if exact else _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # dates, figures of any length
        raise InputError(path, f"is not YAML ({_short(error)})", remedy) from None


def _measure(text: str, path: object, remedy: str) -> None:
    """Refuse YAML that is nested too deep, or that aliases blow up: a few lines can stand for gigabytes."""
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size of every collection not yet closed
    sizes: dict[str, int] = {}  # values below each anchor, aliases written out
    for event in yaml.parse(text, Loader=_Loader):
        size, anchor = 0, getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.AliasEvent):
            size, anchor = sizes.get(str(event.anchor), MOST_VALUES), None  # one within itself has no end
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            _printable(event.value, path, remedy)
        if anchor and size:
            sizes[anchor] = size
        if open_nodes and size:
            open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)
        if len(open_nodes) > DEEPEST:
            raise InputError(path, f"is nested more than {DEEPEST} levels deep", remedy)
        if size > MOST_VALUES or (open_nodes and open_nodes[-1][1] > MOST_VALUES):
            raise InputError(path, f"stands for more than {MOST_VALUES} values", "use fewer aliases")


def read_json(path: str | os.PathLike[str], remedy: str = "") -> Any:
    """The content of a JSON file."""
    return parse_json(read_text(path, remedy), path, remedy)


def parse_json(text: str | bytes, where: object, remedy: str = "") -> Any:
    """The content of JSON text; `where` names it in the message."""
    try:
        found = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"is not JSON ({_short(error)})", remedy) from None
    inside = [found]
    for value in inside:  # grows as it is walked
        if isinstance(value, str):
            _printable(value, where, remedy)
        elif isinstance(value, dict):
            inside += [*value, *value.values()]
        elif isinstance(value, list):
            inside += value
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping of these pairs; a key that occurs twice is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return found


def _printable(text: str, where: object, remedy: str) -> None:
    if found := _UNPRINTABLE.search(text):
        raise InputError(where, f"holds the control character {found[0]!r} in {shown(text)}", remedy)


def listed(value: Any, key: str, where: object) -> list[Any]:
    """`value` of `key`, a list; an empty one where nothing was given."""
    if value is not None and not isinstance(value, list):
        raise InputError(where, f"`{key}`: {shown(value)} is not a list", "write one a line, each after a dash")
    return value or []


def read_tensors(path: str | os.PathLike[str], remedy: str = "") -> dict[str, Any]:
    """The arrays of a safetensors file, which can hold nothing else; every number in them is finite."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    regular(path, LARGEST_TENSORS_BYTES, remedy)
    try:
        arrays = load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(path, f"is not a safetensors file ({_short(error)})", remedy) from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(path, f"`{shown(name)}` holds what is not a number", remedy)
    return arrays


def shown(value: Any) -> str:
    """A value as a message quotes it: on one line, and never all of a long one."""
    try:
        words = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        words = "a number of very many digits"
    return words if len(words) <= 80 else f"{words[:77]}..."


def _short(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:197]}..."


def regular(path: str | os.PathLike[str], largest_bytes: int, remedy: str = "") -> Path:
    """The path of a regular file of at most so many bytes; a pipe would be waited for without end."""
    try:
        file = Path(path)
        if file.exists() and not file.is_file():
            raise InputError(path, "is not a file", remedy)
        if file.stat().st_size > largest_bytes:
            raise InputError(path, f"is larger than {largest_bytes >> 20} MiB", remedy)
        return file
    except FileNotFoundError:
        raise InputError(path, "does not exist", remedy) from None
    except (OSError, ValueError) as error:
        raise InputError(path, f"cannot be read ({_short(error)})", remedy) from None


def read_text(path: str | os.PathLike[str], remedy: str = "") -> str:
    """The text of a regular file of no absurd size."""
    file = regular(path, LARGEST_BYTES, remedy)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # also text that is not UTF-8
        raise InputError(path, f"cannot be read ({_short(error)})", remedy) from None
