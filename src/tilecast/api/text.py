"""Tables and numbers as an answer's text shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_UNITS = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
NOTHING = 1e-9  # below: what floating point leaves of a difference


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


def short(value: float, digits: int = 4) -> str:
    """So many digits, thousands set apart, no exponent and nothing that only floating point left."""
    if abs(value) < NOTHING:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.12f}".rstrip("0").rstrip(".") if abs(rounded) < 1e15 else f"{rounded:.{digits}g}"


def size(value: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit, name in _UNITS:
        if abs(value) >= 0.9995 * unit:
            return f"{short(value / unit, 3)} {name}"
    return f"{value:.0f} B"


def percentages(shares: Mapping[str, float]) -> str:
    """Shares by name, those below half a percent left out."""
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005)
