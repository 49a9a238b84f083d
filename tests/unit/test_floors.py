"""Rooms stand on floors: a module imports from floors below or its own room, and never in a circle."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
FLOORS = [
    {"base"},
    {"tables"},
    {"hardware", "models"},
    {"artifact", "graph", "measure"},
    {"predict"},
    {"multigpu", "serving"},
    {"planner", "moe", "locality"},
    {"evaluate"},
    {"present"},
    {"cli", "api"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LONGEST = 400  # lines of a module


@lru_cache
def modules() -> dict[str, Path]:
    """Every module of the library, by its dotted name."""
    found = {}
    for path in sorted((SOURCE / "tilecast").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@lru_cache
def tree(name: str) -> ast.Module:
    """A module's syntax."""
    return ast.parse(modules()[name].read_text())


@lru_cache
def imports(name: str) -> frozenset[str]:
    """The modules of the library that a module imports, also inside a function; not those for types alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(inner & modules().keys() or {node.module})
            if not inner <= modules().keys():
                found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree(name))
    return frozenset(found & modules().keys()) - {name}


def room_of(name: str) -> str:
    """The room of a module; the package itself is none."""
    return name.split(".")[1] if "." in name else ""


def test_every_room_has_a_floor() -> None:
    assert {room_of(name) for name in modules()} - {""} <= FLOOR_OF.keys()


def test_no_arrow_points_up() -> None:
    upward = [
        f"{name} imports {other}"
        for name in modules()
        for other in sorted(imports(name))
        if room_of(name) and room_of(other)
        if room_of(name) != room_of(other) and FLOOR_OF[room_of(other)] >= FLOOR_OF[room_of(name)]
    ]
    # Rooms of one floor: the second may read the first.
    beside = {
        ("measure", "graph"),
        ("artifact", "graph"),
        ("serving", "multigpu"),
        ("moe", "planner"),
        ("cli", "api"),
    }
    assert [arrow for arrow in upward if _rooms(arrow) not in beside] == []


def _rooms(arrow: str) -> tuple[str, str]:
    name, _, other = arrow.partition(" imports ")
    return room_of(name), room_of(other)


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            pytest.fail("circle: " + " → ".join([*path[path.index(name) :], name]))
        if name not in done:
            for other in sorted(imports(name)):
                walk(other, (*path, name))
            done.add(name)

    for name in modules():
        walk(name, ())


def test_no_module_is_longer_than_it_can_be_read() -> None:
    long = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


def test_drawing_draws() -> None:
    """A mean, a median or a quantile is computed in `evaluate`, which has the tests of statistics."""
    computed = {"mean", "median", "quantile", "percentile", "std", "var", "corr", "corrcoef", "average"}
    found = [
        f"{name}:{node.lineno} {node.func.attr}"
        for name in modules()
        if room_of(name) == "present"
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in computed
    ]
    assert found == []
