"""Small changes of a Python file that a test should notice: of comparisons, sums, constants and statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

COMPARED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
COMPUTED = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip
WORDS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**", ast.BitOr: "|", ast.BitAnd: "&",
    ast.And: "and", ast.Or: "or",
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: bytes `start` to `end` of a file become `new`."""

    path: str
    function: str  # "" on the level of the module
    line: int
    lines: tuple[int, int]  # of the statement, first and last; (0, 0) for what runs as the module is imported
    kind: str
    statement: str  # its first line
    old: str
    new: str
    start: int
    end: int

    def applied(self, data: bytes) -> bytes:
        """The file with the change."""
        return data[: self.start] + self.new.encode() + data[self.end :]


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source, self.function = path, source, ""
        self.lines, self.imported = (0, 0), True
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The bytes of a node."""
        return (
            self.starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            self.starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def change(self, node: ast.AST, kind: str, new: str) -> Mutant:
        start, end = self.span(node)
        old = self.source[start:end].decode()
        return self.mutant(kind, old, new, start, end)

    def mutant(self, kind: str, old: str, new: str, start: int, end: int) -> Mutant:
        line = self.source[:start].count(b"\n") + 1
        lines = (0, 0) if self.imported else self.lines
        statement = self.source.splitlines()[self.lines[0] - 1].decode().strip()
        return Mutant(self.path, self.function, line, lines, kind, statement, old, new, start, end)

    def between(self, left: ast.AST, right: ast.AST, kind: str, old: str, new: str) -> Iterator[Mutant]:
        """The change of an operator that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        at = self.source[start:end].find(old.encode())
        if at < 0 or b"#" in self.source[start:end]:
            return
        at += start
        yield self.mutant(kind, old, new, at, at + len(old))

    def found(self, node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for left, op, right in zip(operands, node.ops, operands[1:]):
                    yield from self.between(left, right, "comparison", WORDS[type(op)], COMPARED[type(op)])
            case ast.BinOp() if type(node.op) in COMPUTED and not (_text(node.left) or _text(node.right)):
                yield from self.between(
                    node.left, node.right, "arithmetic", WORDS[type(node.op)], COMPUTED[type(node.op)]
                )
            case ast.BoolOp():
                old = WORDS[type(node.op)]
                for left, right in zip(node.values, node.values[1:]):
                    yield from self.between(left, right, "and, or", old, "or" if old == "and" else "and")
            case ast.UnaryOp(op=ast.Not()):
                yield self.change(node, "negation", f"bool({ast.unparse(node.operand)})")
            case ast.Constant(value=bool()):
                yield self.change(node, "constant", str(not node.value))
            case ast.Constant(value=int()):
                yield self.change(node, "constant", str(2 * node.value if node.value > 9 else node.value + 1))
            case ast.Constant(value=float()):
                yield self.change(node, "constant", repr(2 * float(node.value) or 1.0))
            case ast.If() | ast.IfExp():
                yield self.change(node.test, "condition", "True")
                yield self.change(node.test, "condition", "False")
            case ast.comprehension():
                for test in node.ifs:
                    yield self.change(test, "condition", "True")
            case ast.Return() if node.value is not None and not _constant(node.value, None):
                yield self.change(node, "return", "return None")
            case ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
                yield self.change(node, "statement dropped", "pass")
            case ast.Expr() if not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom):
                yield self.change(node, "statement dropped", "pass")

    def visit(self, node: ast.AST) -> Iterator[Mutant]:
        """Every change inside a node."""
        before = self.function, self.lines, self.imported
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.function = f"{self.function}.{node.name}".strip(".")
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if isinstance(body, list) else node.end_lineno
            self.lines = (node.lineno, max(node.lineno, last or 0))
        yield from self.found(node)
        for name, child in _children(node):
            outer = self.imported
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and name == "body":
                self.imported = False
            yield from self.visit(child)
            self.imported = outer
        self.function, self.lines, self.imported = before


def _text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str | bytes)


def _constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What can be changed inside a node: no annotation, no message of an error, no part of a text."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        return
    if isinstance(node, ast.If):
        words = ast.unparse(node.test)
        if "__name__" in words or "TYPE_CHECKING" in words:
            return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


def mutants(path: str, source: bytes) -> list[Mutant]:
    """Every change of a file, in the order of its text."""
    return list(_Finder(path, source).visit(ast.parse(source)))


def of_rooms(root: Path, rooms: list[str]) -> list[Mutant]:
    """Every change of the library's rooms; a path is relative to `root`."""
    files = sorted(file for room in rooms for file in (root / "src/tilecast" / room).rglob("*.py"))
    return [mutant for file in files for mutant in mutants(file.relative_to(root).as_posix(), file.read_bytes())]
