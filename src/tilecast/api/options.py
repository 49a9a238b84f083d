"""A question's options, read from the signature of the function that answers it.

The command line and Python share names, defaults, limits and explanations: each stands once, in the signature.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import Annotated, Any, Literal, NamedTuple, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from tilecast.api.answer import Answer
from tilecast.base import limits
from tilecast.base.errors import InputError
from tilecast.base.names import chosen

P = ParamSpec("P")
Given = TypeVar("Given", bound=Answer)


class Option(NamedTuple):
    """What one parameter of a question means."""

    words: str
    limit: str = ""  # of a whole number: its key in base.limits.MOST
    least: int = 1  # of a whole number
    metavar: str | None = None
    others: tuple[str, ...] = ()  # further names on the command line
    positional: bool = False  # on the command line
    several: str = ""  # of a list: "+" (many values) or "append" (given many times)


class Parameter(NamedTuple):
    """One parameter: its option, its plain type, its choices and its default."""

    name: str
    option: Option
    kind: type
    choices: tuple[Any, ...]
    default: Any

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.rstrip("_").replace("_", "-")

    def checked(self, value: Any) -> Any:
        """`value`, or an InputError in one line."""
        if value is None and self.default is None:
            return None
        if self.option.several:
            values = [value] if isinstance(value, str) else value
            return [self._one(one, str) for one in values]
        if self.choices:
            if not isinstance(value, str):
                if value in self.choices and not isinstance(value, bool):
                    return value
                raise InputError(self.flag, f"{value!r} is not known", self._expected)
            if all(isinstance(choice, str) for choice in self.choices):
                return chosen(value, self.choices, self.flag)
        return self._one(value, self.kind)

    @property
    def _expected(self) -> str:
        return "expected one of " + ", ".join(map(str, self.choices))

    def _one(self, value: Any, kind: type) -> Any:
        if kind is int:
            return limits.check(self.option.limit, value, self.flag, least=self.option.least)
        if kind is float:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(self.flag, f"{value!r} is no number")
            return float(value)
        if kind is str and isinstance(value, (str, PathLike)):
            if not fspath(value):
                raise InputError(self.flag, "is empty", "give a value, or leave it out")
            return fspath(value)
        if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        if kind is not Any and not isinstance(value, kind):
            raise InputError(self.flag, f"{type(value).__name__} is no {kind.__name__}")
        return value

    def read(self, text: str) -> Any:
        """A value of the command line."""
        if self.kind is float:
            return limits.amount(self.name.replace("_", "-"))(text)
        whole = limits.option(self.name.replace("_", "-"), self.option.limit)(text)
        if self.choices and whole not in self.choices:
            raise InputError(self.flag, f"{whole} is not known", self._expected)
        return whole


@functools.cache
def parameters(function: Callable[..., Any]) -> Mapping[str, Parameter]:
    """The parameters of a question, in order."""
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind, option = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name], Option(""))
        if isinstance(kind, types.UnionType) or get_origin(kind) not in (None, Literal, tuple, list):
            kind = next(part for part in get_args(kind) if part is not type(None))
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        plain = type(choices[0]) if choices else str if get_origin(kind) else kind
        found[name] = Parameter(name, option, plain, choices, parameter.default)
    return found


def question(function: Callable[P, Given]) -> Callable[P, Given]:
    """Check a question's arguments before anything else, and keep them beside its answer."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def ask(*args: P.args, **given: P.kwargs) -> Given:
        bound = signature.bind(*args, **given)
        bound.apply_defaults()
        known = parameters(function)
        checked = {name: known[name].checked(value) for name, value in bound.arguments.items()}
        answer = function(**checked)  # type: ignore[call-arg]
        answer.question = {name: value for name, value in checked.items() if value not in (None, [])}
        return answer

    return ask


def add_arguments(function: Callable[..., Any], parser: argparse.ArgumentParser) -> None:
    """Declare a question's options on the command line."""
    for each in parameters(function).values():
        option, required = each.option, each.default is inspect.Parameter.empty
        more: dict[str, Any] = {"help": option.words.replace("%", "%%"), "dest": each.name}
        if each.kind is bool:
            parser.add_argument(each.flag, action="store_true", **more)
            continue
        more["default"] = None if required else each.default
        more["metavar"] = option.metavar or (
            "{" + ",".join(map(str, each.choices)) + "}" if each.choices else None
        )
        if option.several:
            more |= {"action": "append"} if option.several == "append" else {"nargs": "+"}
        elif each.kind not in (str, Any):
            more["type"] = each.read
        if each.default not in (None, "", ()) and not required:
            more["help"] += f" (default: {each.default})"
        if option.positional:
            more.pop("dest")
            parser.add_argument(each.name, nargs=None if required else "?", **more)
            continue
        parser.add_argument(each.flag, *option.others, required=required, **more)
