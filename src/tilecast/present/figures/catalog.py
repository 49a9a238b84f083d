"""The figures of the report: what each module of this folder says about its figure, read without importing it.

A module is a figure if it assigns `TABLES`. It has the function `draw`, a docstring, which is the figure's caption
in Snakemake's report, and these constants, all of them literals:
`TABLES`, the result files that `draw` takes, each with the stage and name of its declared table;
`GROUP` and `TITLE`, where Snakemake's report lists the figure; `ORDER`, the figure's place on the page;
`PARAMS`, names of further arguments of `draw` (figures.smk has their values), where it takes any.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tilecast.base.errors import InputError

FOLDER = Path(__file__).parent
FORMS = {"svg": "svg", "pdf": "pdf", "png": "png", "data": "csv", "about": "json"}  # output -> the file's ending
NEEDED: dict[str, type] = {"TABLES": dict, "GROUP": str, "TITLE": str, "ORDER": int}


@dataclass(frozen=True)
class Figure:
    """One figure of the report."""

    name: str
    tables: Mapping[str, str]
    group: str
    title: str
    caption: str
    order: int
    params: tuple[str, ...] = ()

    def reads(self, folder: str) -> bool:
        """Whether the figure needs a file of this folder."""
        return any(path.startswith(f"{folder}/") for path in self.tables)

    def stages(self) -> list[str]:
        """The stages whose declarations the figure's tables are read by."""
        return sorted({table.partition(".")[0] for table in self.tables.values()})

    def files(self) -> dict[str, str]:
        """Every form of the figure and its file."""
        return {form: f"results/figures/{self.name}.{ending}" for form, ending in FORMS.items()}


def figures(folder: Path = FOLDER) -> list[Figure]:
    """Every figure of the folder, in the order of the page."""
    found = [_figure(path) for path in sorted(folder.glob("*.py"))]
    return sorted((figure for figure in found if figure), key=lambda figure: (figure.order, figure.name))


def _figure(path: Path) -> Figure | None:
    """The figure that a module draws; None for a module that figures share."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise InputError(path, f"line {error.lineno} is no Python ({error.msg})") from None
    assigned = dict(pair for statement in tree.body for pair in _assigned(statement))
    if "TABLES" not in assigned:
        return None
    try:
        found = {name: ast.literal_eval(assigned[name]) for name in (*NEEDED, "PARAMS") if name in assigned}
    except ValueError:
        raise InputError(path, f"one of {', '.join(NEEDED)} is not a literal", "see catalog.py") from None
    for name, kind in NEEDED.items():
        if not isinstance(found.get(name), kind):
            raise InputError(path, f"{name} is missing or not a literal {kind.__name__}", "see catalog.py")
    functions = {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef)}
    caption = " ".join((ast.get_docstring(tree) or "").split())
    if "draw" not in functions or not caption:
        raise InputError(path, "has no docstring or no function `draw`", "see catalog.py")
    return Figure(path.stem, caption=caption, **{name.lower(): value for name, value in found.items()})


def _assigned(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    """The names that a statement assigns, with the expression of each."""
    if not isinstance(statement, ast.Assign):
        return []
    target, value = statement.targets[0], statement.value
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts))
    return [(name.id, part) for name, part in pairs if isinstance(name, ast.Name)]
