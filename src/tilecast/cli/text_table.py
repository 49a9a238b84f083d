"""Tables as the commands print them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def text_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]], gap: str = "") -> list[str]:
    """Lines of a table: `columns` are headings, each with its alignment and width, as in `<14` and `>9`.

    Without a width a column is as wide as its longest cell. `gap` stands between columns.
    """
    lines = [tuple(columns), *rows]
    formats = [
        form if form[1:] else f"{form}{max(len(line[place]) for line in lines)}"
        for place, form in enumerate(columns.values())
    ]
    return [
        gap.join(f"{cell:{form}}" for cell, form in zip(line, formats, strict=True)).rstrip() for line in lines
    ]


def short(value: float) -> str:
    """Four digits, thousands set apart."""
    return f"{float(f'{value:.4g}'):,.10g}"
