"""What importing a workflow's script loads, and what of that its code can reach: read from the sources alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "src"
Place = tuple[str, str | None]  # a module, and a name in it


def _file(module: str, sources: Path) -> Path | None:
    stem = sources / module.replace(".", "/")
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _bound(node: ast.Import | ast.ImportFrom) -> dict[str, Place]:
    """The names that an import statement binds."""
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
    names = [(alias.asname, alias.name if alias.asname else alias.name.split(".")[0]) for alias in node.names]
    return {given or module: (module, None) for given, module in names}


@dataclass
class _Module:
    """A file's top level: what it imports, what it defines, and the statements that do neither."""

    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    names: dict[str, Place] = field(default_factory=dict)
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    statements: list[ast.stmt] = field(default_factory=list)


@cache
def _module(path: Path) -> _Module:
    module = _Module()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imports.append(node)
            module.names.update(_bound(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            module.definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in (part.id for part in ast.walk(target) if isinstance(part, ast.Name)):
                    module.definitions.setdefault(name, []).append(node)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            module.statements.append(node)
    return module


def _imported(script: Path, sources: Path) -> tuple[set[Path], set[str]]:
    """The project's files and the other packages that importing a script loads; not what a function imports."""
    files, packages, todo = {script}, set(), [script]
    while todo:
        for node in _module(todo.pop()).imports:
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if not modules[0].startswith("tilecast"):
                packages.update(module.split(".")[0] for module in modules)
                continue
            for module in modules:
                parts = module.split(".")
                for depth in range(len(parts)):
                    file = _file(".".join(parts[: depth + 1]), sources)
                    if file and file not in files:
                        files.add(file)
                        todo.append(file)
    return files, packages - set(sys.stdlib_module_names)


def third_party(script: Path, sources: Path = SOURCES) -> set[str]:
    """Top-level packages that a script, and the library modules it imports, need in order to be imported."""
    return _imported(script, sources)[1]


class _Reads(ast.NodeVisitor):
    """The names that a definition reads, and the attribute asked of each; annotations only where they count."""

    def __init__(self, node: ast.stmt) -> None:
        self.found: list[tuple[str, str | None]] = []
        self.local: dict[str, Place] = {}  # what is imported within
        self.in_class = False
        self.visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        inside, self.in_class = self.in_class, False
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
            self.visit(part)
        self.in_class = inside

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        inside, self.in_class = self.in_class, True  # a model is made of its annotations
        self.generic_visit(node)
        self.in_class = inside

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        for part in (node.annotation if self.in_class else None, node.target, node.value):
            if part:
                self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        self.local.update(_bound(node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.local.update(_bound(node))

    def visit_Name(self, node: ast.Name) -> None:
        self.found.append((node.id, None))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name):
            self.found.append((node.value.id, node.attr))
        else:
            self.visit(node.value)


def reached(script: Path, sources: Path = SOURCES) -> set[str]:
    """Packages that a definition reads which the script can reach, by the names it and what it names read.

    Every method of a class counts, and so does every branch: what is not here cannot run.
    """
    packages: set[str] = set()
    seen: set[tuple[Path, str]] = set()
    todo: list[tuple[Path, str]] = [(script, name) for name in _module(script).definitions]

    def follow(place: Place, attribute: str | None) -> None:
        module, name = place
        if module.split(".")[0] != "tilecast":
            packages.add(module.split(".")[0])
            return
        if name and (submodule := _file(f"{module}.{name}", sources)):
            names = [attribute] if attribute else list(_module(submodule).definitions)
            todo.extend((submodule, one) for one in names)
        elif (file := _file(module, sources)) and (wanted := name or attribute):
            todo.append((file, wanted))

    def read(path: Path, node: ast.stmt) -> None:
        for target, attribute in places(path, _Reads(node)):
            follow(target, attribute) if isinstance(target, tuple) else todo.append((path, target))

    for path in _imported(script, sources)[0]:
        for statement in _module(path).statements:
            read(path, statement)
    while todo:
        if (key := todo.pop()) in seen:
            continue
        seen.add(key)
        path, name = key
        if name in (module := _module(path)).definitions:
            for node in module.definitions[name]:
                read(path, node)
        elif name in module.names:
            follow(module.names[name], None)
    return packages


def places(path: Path, reads: _Reads) -> Iterator[tuple[Place | str, str | None]]:
    """Where the names a definition reads come from: another module, or (a bare name) this one."""
    module = _module(path)
    for name, attribute in reads.found:
        if name in reads.local:
            yield reads.local[name], attribute
        elif name in module.definitions:
            yield name, None
        elif name in module.names:
            yield module.names[name], attribute
