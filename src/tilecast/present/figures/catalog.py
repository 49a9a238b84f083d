"""The figures of the report: what each module of this folder says about its figure, read without importing it.

A module is a figure if it assigns `TABLES`. It has the function `draw` and these constants, all of them literals:
`TABLES`, the result files that `draw` takes, each with the stage and name of its declared table;
`GROUP` and `TITLE`, where Snakemake's report lists the figure; `CAPTION`, what it says there;
`ORDER`, the figure's place on the page;
`PARAMS`, names of further arguments of `draw` (figures.smk has their values), where it takes any.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilecast.base.errors import InputError

FOLDER = Path(__file__).parent
FORMS = {"svg": "svg", "pdf": "pdf", "png": "png", "data": "csv", "about": "json"}  # output -> the file's ending
NEEDED: dict[str, type] = {"TABLES": dict, "GROUP": str, "TITLE": str, "CAPTION": str, "ORDER": int}


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
        body = ast.parse(path.read_bytes()).body
    except SyntaxError as error:
        raise InputError(path, f"line {error.lineno} is no Python ({error.msg})") from None
    assigned = {
        statement.targets[0].id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    if "TABLES" not in assigned:
        return None
    for name, kind in NEEDED.items():
        if not isinstance(_literal(path, assigned, name), kind):
            raise InputError(path, f"{name} is missing or not a literal {kind.__name__}", "see catalog.py")
    if not any(isinstance(statement, ast.FunctionDef) and statement.name == "draw" for statement in body):
        raise InputError(path, "has no function `draw`", "see catalog.py")
    values = {name.lower(): _literal(path, assigned, name) for name in NEEDED}
    return Figure(name=path.stem, params=_literal(path, assigned, "PARAMS") or (), **values)


def _literal(path: Path, assigned: Mapping[str, ast.expr], name: str) -> Any:
    """The value of a constant, or None where the module does not assign it."""
    try:
        return ast.literal_eval(assigned[name]) if name in assigned else None
    except ValueError:
        raise InputError(path, f"{name} is not a literal", "see catalog.py") from None
