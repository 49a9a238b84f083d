"""The figures of the report: what each module of this folder says about its figure, read without importing it.

A module is a figure if it assigns `TABLES`. It has the function `draw`, a docstring, which is the figure's caption
in Snakemake's report, and these constants, all of them literals:
`TABLES`, the result files that `draw` takes, each with the stage and name of its declared table;
`GROUP` and `TITLE`, where Snakemake's report lists the figure; `ORDER`, the figure's place on the page;
`PARAMS`, names of further arguments of `draw` (figures.smk has their values), where it takes any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tilecast.present.constants import constants

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

    def files(self) -> dict[str, str]:
        """Every form of the figure and its file."""
        return {form: f"results/figures/{self.name}.{ending}" for form, ending in FORMS.items()}


def figures(folder: Path = FOLDER) -> list[Figure]:
    """Every figure of the folder, in the order of the page."""
    read = {path.stem: constants(path, "draw", NEEDED, ("PARAMS",)) for path in sorted(folder.glob("*.py"))}
    found = [Figure(name, **said) for name, said in read.items() if said]
    return sorted(found, key=lambda figure: (figure.order, figure.name))
