"""YAML and JSON from outside: plain data within limits, or one line that says what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from tilecast.errors import InputError

LARGEST_BYTES = 32 << 20
DEEPEST = 64  # levels of nesting
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENING = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSING = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_yaml(path: str | os.PathLike[str], remedy: str = "") -> Any:
    """The content of a YAML file; no tag constructs an object, no alias stands for a copy."""
    text = _text(path, remedy)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):  # a few lines of them can stand for gigabytes
                raise InputError(
                    f"{path}, line {event.start_mark.line + 1}", "aliases are not read", "write it out"
                )
            depth += isinstance(event, _OPENING) - isinstance(event, _CLOSING)
            if depth > DEEPEST:
                raise InputError(path, f"is nested more than {DEEPEST} levels deep", remedy)
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # dates, figures of any length
        raise InputError(path, f"is not YAML ({_short(error)})", remedy) from None


def read_json(path: str | os.PathLike[str], remedy: str = "") -> Any:
    """The content of a JSON file."""
    return parse_json(_text(path, remedy), path, remedy)


def parse_json(text: str | bytes, where: object, remedy: str = "") -> Any:
    """The content of JSON text; `where` names it in the message."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"is not JSON ({_short(error)})", remedy) from None


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


def _text(path: str | os.PathLike[str], remedy: str) -> str:
    try:
        file = Path(path)
        if file.exists() and not file.is_file():
            raise InputError(path, "is not a file", remedy)
        if file.stat().st_size > LARGEST_BYTES:
            raise InputError(path, f"is larger than {LARGEST_BYTES >> 20} MiB", remedy)
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "does not exist", remedy) from None
    except (OSError, ValueError) as error:  # also text that is not UTF-8
        raise InputError(path, f"cannot be read ({_short(error)})", remedy) from None
