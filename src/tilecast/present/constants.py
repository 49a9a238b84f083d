"""What a module says about its figure or its paper tables, read without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError


def constants(
    path: Path, function: str, needed: Mapping[str, type], optional: Iterable[str] = ()
) -> dict[str, Any] | None:
    """The literals `needed` that a module assigns, by their names in lower case, and its docstring as `caption`.

    None for a module that assigns no `TABLES`; one that does has to have all of them, and the function.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise InputError(path, f"line {error.lineno} is no Python ({error.msg})") from None
    assigned = dict(pair for statement in tree.body for pair in _assigned(statement))
    if "TABLES" not in assigned:
        return None
    try:
        found = {name: ast.literal_eval(assigned[name]) for name in (*needed, *optional) if name in assigned}
    except ValueError:
        raise InputError(path, f"one of {', '.join(needed)} is not a literal", "see catalog.py") from None
    for name, kind in needed.items():
        if not isinstance(found.get(name), kind):
            raise InputError(path, f"{name} is missing or not a literal {kind.__name__}", "see catalog.py")
    functions = {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef)}
    caption = " ".join((ast.get_docstring(tree) or "").split())
    if function not in functions or not caption:
        raise InputError(path, f"has no docstring or no function `{function}`", "see catalog.py")
    return {"caption": caption} | {name.lower(): value for name, value in found.items()}


def stages(tables: Mapping[str, str]) -> list[str]:
    """The stages whose declarations these tables are read by: the part before the dot."""
    return sorted({table.partition(".")[0] for table in tables.values()})


def _assigned(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    """The names that a statement assigns, with the expression of each."""
    if not isinstance(statement, ast.Assign):
        return []
    target, value = statement.targets[0], statement.value
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts))
    return [(name.id, part) for name, part in pairs if isinstance(name, ast.Name)]
