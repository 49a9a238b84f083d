"""Which modules a Python file imports, directly or not, found without running any of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def imported_files(file: Path, source: Path) -> list[Path]:
    """Modules below the folder `source` that `file` runs by its imports; `file` too, where it is such a module.

    Imports inside functions count. Imports under `if TYPE_CHECKING:` do not: they never run. Importing a module
    also runs the `__init__.py` of each package it lies in, and so counts what those import.
    """
    found = {file} if file.is_relative_to(source) else set()
    todo = [file]
    while todo:
        new = {path for name in _names(todo.pop()) for path in _files(name, source)} - found
        found |= new
        todo += new
    return sorted(found)


@cache
def _names(file: Path) -> frozenset[str]:
    """Dotted names of all that `file` itself imports; each file is parsed once."""
    names: set[str] = set()
    for node in _statements(ast.parse(file.read_bytes()).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Each statement of a body and of the blocks inside it; of `if TYPE_CHECKING:` only the `else`."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            if field == "body" and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                continue
            yield from _statements(getattr(node, field, []))


@cache
def _files(name: str, source: Path) -> tuple[Path, ...]:
    """The files that importing the dotted `name` runs: of its packages, and its own where it is a module."""
    stems = [source]
    for part in name.split("."):
        stems.append(stems[-1] / part)
        if not stems[-1].is_dir():
            break
    candidates = [file for stem in stems[1:] for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return tuple(file for file in candidates if file.is_file())
