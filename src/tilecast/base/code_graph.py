"""Which modules a Python file imports, directly or not, found without running any; and a checksum of each."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tilecast.base.errors import TilecastError
from tilecast.base.files import write_bytes


class CodeGraph:
    """The modules below the folder `source`, and what each imports.

    What is computed from a file's text is kept in the file `cache` by the text's checksum: it is computed once. A
    cache that is damaged, or in a folder that cannot be written, is as good as none.
    """

    def __init__(self, source: Path, cache: Path | None = None) -> None:
        self.source = source
        self._cache = cache
        self._modules = {
            path.relative_to(source).with_suffix("").as_posix(): path for path in source.rglob("*.py")
        }
        self._digests: dict[Path, str] = {}
        self._direct: dict[Path, frozenset[Path]] = {}
        self._kept = _read(cache)
        self._used: dict[str, Any] = {}

    def imported_files(self, file: Path) -> list[Path]:
        """Modules below `source` that `file` runs by its imports; `file` too, where it is such a module.

        Imports inside functions count. Imports under `if TYPE_CHECKING:` do not: they never run. Importing a
        module also runs the `__init__.py` of each package it lies in, and so counts what those import.
        """
        found = {file} if file.is_relative_to(self.source) else set()
        todo = [file]
        while todo:
            new = self._imports(todo.pop()) - found
            found |= new
            todo += new
        return sorted(found)

    def digest(self, file: Path) -> str:
        """The SHA-256 of a file, shortened."""
        if file not in self._digests:
            self._digests[file] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        return self._digests[file]

    def remembered(self, module: Path, files: Iterable[Path], compute: Callable[[], Any], *given: object) -> Any:
        """The plain data that `compute` makes of files and of what is `given`, by the code of a module.

        It is computed anew where any of these is another one; an error is never kept.
        """
        try:
            read = [f"{file} {self.digest(file)}" for file in (*self.imported_files(module), *files)]
        except OSError:  # `compute` says it better
            return compute()
        key = hashlib.sha256(repr((str(module), read, given)).encode()).hexdigest()
        return self._once(key, compute)

    def save(self) -> None:
        """Write what was asked for to the cache, where something is new; two that write at once do no harm."""
        if self._cache is None or self._used.keys() <= self._kept.keys():
            return
        body = json.dumps(self._used).encode()
        with contextlib.suppress(OSError, TilecastError):
            write_bytes(self._cache, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        self._kept = self._used

    def _once(self, key: str, compute: Callable[[], Any]) -> Any:
        if key not in self._used:
            known = key in self._kept
            self._used[key] = self._kept[key] if known else json.loads(json.dumps(compute()))
        return self._used[key]

    def _imports(self, file: Path) -> frozenset[Path]:
        """The modules that `file` itself imports."""
        if file not in self._direct:
            names = self._once(self.digest(file), lambda: sorted(_names(file)))
            self._direct[file] = frozenset(path for name in names for path in self._files(name))
        return self._direct[file]

    def _files(self, name: str) -> Iterator[Path]:
        """The files that importing the dotted `name` runs: of its packages, and its own where it is a module."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            stem = "/".join(parts[:count])
            for module in (stem, f"{stem}/__init__"):
                if module in self._modules:
                    yield self._modules[module]


def _read(cache: Path | None) -> dict[str, Any]:
    """What a cache holds; nothing where it is not as it was written."""
    try:
        digest, _, body = cache.read_bytes().partition(b"\n") if cache else (b"", b"", b"")
    except OSError:
        return {}
    return json.loads(body) if digest == hashlib.sha256(body).hexdigest().encode() else {}


def _names(file: Path) -> set[str]:
    """Dotted names of all that `file` itself imports."""
    names: set[str] = set()
    for node in _statements(ast.parse(file.read_bytes()).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Each statement of a body and of the blocks inside it; of `if TYPE_CHECKING:` only the `else`."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            if field == "body" and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                continue
            yield from _statements(getattr(node, field, []))
