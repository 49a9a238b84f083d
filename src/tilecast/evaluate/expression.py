"""Arithmetic written in a file: numbers, names, + - * / and a few functions; parsed, never run as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"min": min, "max": max, "ceil": math.ceil, "abs": abs}
_MOST = 100  # arguments of min and max
_ARGUMENTS = {"min": range(2, _MOST), "max": range(2, _MOST), "ceil": range(1, 2), "abs": range(1, 2)}
LONGEST = 400


def parsed(text: str) -> ast.expr:
    """The expression's tree; ValueError says what in it is not arithmetic."""
    if len(text) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text!r} is no arithmetic expression") from None
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in ast.walk(tree):
        allowed = isinstance(node, (ast.BinOp, ast.UnaryOp, ast.USub, ast.Name, ast.Load, *_OPERATORS))
        if isinstance(node, ast.Constant):
            allowed = type(node.value) in (int, float)
        elif isinstance(node, ast.Name) and node.id in _FUNCTIONS:
            allowed = node in called
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            allowed = name in _FUNCTIONS and not node.keywords
            if allowed and len(node.args) not in _ARGUMENTS[name]:
                raise ValueError(f"{text!r}: {name} cannot take {len(node.args)} arguments")
        if not allowed:
            raise ValueError(f"{text!r}: only + - * / and {', '.join(_FUNCTIONS)} of numbers and names")
    return tree


def names(tree: ast.expr) -> set[str]:
    """The names that need a value."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(_FUNCTIONS)


def value(tree: ast.expr, known: Mapping[str, float]) -> float:
    """What the expression comes to; ZeroDivisionError and OverflowError are the caller's."""
    if isinstance(tree, ast.Constant):
        return float(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return float(known[tree.id])
    if isinstance(tree, ast.UnaryOp):
        return -value(tree.operand, known)
    if isinstance(tree, ast.BinOp):
        return _OPERATORS[type(tree.op)](value(tree.left, known), value(tree.right, known))
    assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
    return float(_FUNCTIONS[tree.func.id](*(value(argument, known) for argument in tree.args)))
