"""The list of every declared table for the documentation: `python -m tilecast.tables.document` writes it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tilecast.tables import declared
from tilecast.tables.schema import Table


def stages() -> dict[str, tuple[str, list[Table]]]:
    """Stage -> what its module says of it, and its tables in the order they are declared."""
    found = {}
    for name in sorted(module.name for module in iter_modules(declared.__path__)):
        module = import_module(f"{declared.__name__}.{name}")
        found[name] = (str(module.__doc__), [value for value in vars(module).values() if isinstance(value, Table)])
    return found
