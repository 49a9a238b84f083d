"""The constants of the predictors: every numeric literal in their code, against a table of their sources.

`data/constants.csv` has one or more rows a name in the code: a constant of a module, a field of a class, or the
function that a literal stands in. Its values have to be exactly the literals found there.
"""

from __future__ import annotations

import ast
import csv
import importlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import log10
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from tilecast.base.files import write_text
from tilecast.base.paths import CHECKOUT, DATA
from tilecast.tables.declared.predict import CHOSEN, CONSTANTS
from tilecast.tables.io import read

LIBRARY = Path(__file__).parents[1]
ROOMS = ("predict", "multigpu", "serving")
REGISTRY = DATA / "constants.csv"
PAGE = CHECKOUT / "docs/understand/constants.md"
_COLUMNS = ("values", "unit", "meaning", "source", "chosen")
HEAD = """# Constants of the predictors

Every numeric literal in the code of `predict`, `multigpu` and `serving`, with its source; written by
`python -m tilecast.evaluate.constants` from `src/tilecast/data/constants.csv`. A literal in the code that is not
listed there fails a test, and so does a listed one that the code no longer has: whoever changes a constant says
anew where it is from. Left out are 0, 1, 2, thousands and thousandths, exponents of 2 and 10, places of a
sequence, and digits kept.

{rows} rows. When each was chosen:

- **definition** ({definition}): nothing was chosen; a definition, a data sheet, the layout of a file
- **before** ({before}): before any evaluation on the data it is judged by, or without regard to one
- **training** ({training}): on training data alone, by kernels held back or a GPU left out
- **after** ({after}): after an evaluation on held-out data, and because of it or by its figures
- **unrecorded** ({unrecorded}): argued, but no log says before or after which evaluation
- **apart** ({apart}): acts on no forecast; speed, display, limits of an input

What the headline error is without those chosen after an evaluation: `results/evaluation/ablation.csv`. The
evaluations themselves, in order: [design-log.md](../evidence/design-log.md) and
[design-log-half-precision.md](../evidence/design-log-half-precision.md).
"""
Held = dict[tuple[str, str], Any]  # module and name, as in the table -> value
_OUTER = (ast.FunctionDef, ast.ClassDef)


def constants() -> pd.DataFrame:
    """The `constants` table, in the order of the code's modules."""
    return read(REGISTRY, CONSTANTS).sort_values(["module", "name"], kind="stable").reset_index(drop=True)


@contextmanager
def holding(values: Held) -> Iterator[None]:
    """Forecasts in this block are made with other values of constants."""
    with ExitStack() as stack:
        for (path, name), value in values.items():
            module = importlib.import_module("tilecast." + path.removesuffix(".py").replace("/", "."))
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        yield


def literals(path: Path) -> dict[str, Counter[str]]:
    """Numeric literals of a Python file by the name they belong to: `CONSTANT`, `Class.field`, `function`.

    Left out: 0, 1, 2, thousands and thousandths (units), exponents of 2 and 10, places and slices of a sequence,
    and the digits that a number is rounded to.
    """
    found: dict[str, Counter[str]] = {}
    for name, value in _numbers(ast.parse(path.read_text(encoding="utf-8")), ()):
        found.setdefault(name, Counter())[value] += 1
    return found


def markdown() -> str:
    """The table as a page of the documentation."""
    table = constants().fillna("")
    counts = table["chosen"].value_counts()
    parts = [HEAD.format(rows=len(table), **{name: counts.get(name, 0) for name in CHOSEN})]
    for module, rows in table.groupby("module", sort=True):
        parts += [f"## {module}", "", f"| constant | {' | '.join(_COLUMNS)} |", "|---|---|---|---|---|---|"]
        for name, *cells in rows[["name", *_COLUMNS]].itertuples(index=False, name=None):
            parts.append(" | ".join(["", f"`{name}`", *(str(cell) for cell in cells), ""]).strip())
        parts.append("")
    return "\n".join(parts)


def _numbers(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if _structural(node, child):
            continue
        if isinstance(child, ast.Constant):
            if _is_number(child.value) and not _unit(child.value):
                yield ".".join(scope), repr(child.value)
        elif isinstance(child, (ast.Assign, ast.AnnAssign)) and isinstance(node, (ast.Module, ast.ClassDef)):
            for name, value in _assigned(child):
                yield from _numbers(ast.Expr(value), (*scope, name))
        else:
            yield from _numbers(child, (*scope, child.name) if isinstance(child, _OUTER) else scope)


def _assigned(statement: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.expr]]:
    """Each name that a statement assigns, with its own expression where several are assigned at once."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    value = statement.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from ((ast.unparse(name), part) for name, part in zip(target.elts, value.elts, strict=True))
    elif value is not None:
        yield ast.unparse(target), value


def _structural(node: ast.AST, child: ast.AST) -> bool:
    if isinstance(node, ast.Subscript) and child is node.slice:
        return isinstance(child, (ast.Constant, ast.Slice, ast.UnaryOp))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and child is node.right:
        return isinstance(node.left, ast.Constant) and node.left.value in (2, 10)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "round":
        return child in node.args[1:]
    return False


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _unit(value: float) -> bool:
    if value in (0, 1, 2):
        return True
    power = log10(value)
    return abs(power - round(power)) < 1e-12 and round(power) % 3 == 0


def unexplained() -> list[str]:
    """What the code and the table disagree about, a line each: no constant may stand in one of them alone."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    stated: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        stated.setdefault((row["module"], row["name"]), Counter()).update(row["values"].split())
    coded = {
        (path.relative_to(LIBRARY).as_posix(), name): values
        for room in ROOMS
        for path in sorted((LIBRARY / room).rglob("*.py"))
        for name, values in literals(path).items()
    }
    return [
        f"{module}: {name}: the code has {sorted(coded.get(key, Counter()).elements())}, "
        f"data/constants.csv {sorted(stated.get(key, Counter()).elements())}"
        for key in sorted(coded.keys() | stated.keys())
        for module, name in (key,)
        if coded.get(key) != stated.get(key)
    ]


if __name__ == "__main__":
    write_text(PAGE, markdown())
