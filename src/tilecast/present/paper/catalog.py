"""The paper's tables: what each module of this folder makes and reads, found without importing it.

A module makes paper tables if it assigns `TABLES`. It has the function `tables` and these constants, all literals:
`TABLES`, the result files that `tables` takes, each with the stage and name of its declared table;
`NAMES`, the paper tables it makes, and `ORDER`, their place in the PDF.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tilecast.present.constants import constants

FOLDER = Path(__file__).parent
FORMS = ("csv", "html", "tex", "typ")  # the PDF is set from `typ`
NEEDED: dict[str, type] = {"TABLES": dict, "NAMES": tuple, "ORDER": int}


@dataclass(frozen=True)
class Maker:
    """A module that makes paper tables."""

    module: str
    caption: str
    tables: Mapping[str, str]
    names: tuple[str, ...]
    order: int

    def files(self, *forms: str) -> list[str]:
        """Every table in these forms."""
        return [f"results/tables/{name}.{form}" for name in self.names for form in forms]


def makers(folder: Path = FOLDER) -> list[Maker]:
    """Every module that makes paper tables, in the order of the PDF."""
    read = {path.stem: constants(path, "tables", NEEDED) for path in sorted(folder.glob("*.py"))}
    return sorted((Maker(name, **said) for name, said in read.items() if said), key=lambda maker: maker.order)
