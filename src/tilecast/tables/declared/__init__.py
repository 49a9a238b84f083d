"""The declared tables: a module a stage, a constant a table; import no stage whose tables you do not use."""

from __future__ import annotations

from importlib import import_module

from tilecast.tables.schema import Table


def find(name: str) -> Table:
    """The table that `<stage>.<table>` names, such as `evaluation.errors`; only that stage is imported."""
    stage, _, table = name.partition(".")
    found = getattr(import_module(f"{__name__}.{stage}"), table.upper())
    assert isinstance(found, Table), name
    return found
