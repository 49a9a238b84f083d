"""The list of every declared table for the documentation: `python -m tilecast.tables.document` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from tilecast.base.files import write_text
from tilecast.base.paths import CHECKOUT
from tilecast.tables import declared
from tilecast.tables.schema import Column, Table

PAGE = "docs/use/tables.md"
HEAD = """# Tables

The columns of every table, by the stage that declares it; written by `python -m tilecast.tables.document` from
`src/tilecast/tables/declared`. A file that does not meet its declaration is refused, with line and column.
Columns marked *key* identify a row. *empty* says what an empty cell means; without it, no cell may be empty.
Where files lie is in [output.md](output.md).
"""


def stages() -> dict[str, tuple[str, list[Table]]]:
    """Stage -> what its module says of it, and its tables in the order they are declared."""
    found = {}
    for name in sorted(module.name for module in iter_modules(declared.__path__)):
        module = import_module(f"{declared.__name__}.{name}")
        found[name] = (str(module.__doc__), [value for value in vars(module).values() if isinstance(value, Table)])
    return found


def markdown() -> str:
    """The page with every stage, table and column."""
    lines = (line for name, (words, tables) in stages().items() for line in _stage(name, words, tables))
    return "\n".join([HEAD, *lines])


def _stage(name: str, words: str, tables: list[Table]) -> Iterator[str]:
    yield from (f"## {name.replace('_', ' ').capitalize()}", "", words, "")
    for table in tables:
        yield from (f"### {table}", "", f"{table.meaning[0].upper()}{table.meaning[1:]}.", "")
        yield from ("| column | kind | unit | meaning | empty |", "|---|---|---|---|---|")
        for column, about in table.columns.items():
            yield f"| {_cells(column, about, column in table.key)} |"
        yield ""


def _cells(name: str, column: Column, key: bool) -> str:
    words = column.meaning + (f": {', '.join(column.values)}" if column.values else "")
    cells = (f"`{name}`{' *key*' if key else ''}", column.kind, column.unit or "", words, column.empty)
    return " | ".join(cell.replace("|", "\\|") for cell in cells)


if __name__ == "__main__":
    write_text(CHECKOUT / PAGE, markdown())
