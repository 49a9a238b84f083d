"""Arithmetic in files: what is computed, and that nothing else is."""

from __future__ import annotations

import pytest

from tilecast.evaluate.expression import names, parsed, value


def test_arithmetic() -> None:
    tree = parsed("100 * prophet / (8 * -single) + ceil(0.2) - min(1, 2, other)")
    assert names(tree) == {"prophet", "single", "other"}
    assert value(tree, {"prophet": 16, "single": -2, "other": 0}) == 101


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "a.b", "a[0]", "2 ** 9", "a if b else c", "lambda: 1", "'text'", "True", "1 +", "",
        "f'{a}'", "[1]", "a < b", "ceil()", "ceil(x=1)", "eval(a)", "(a := 1)", "1 // 2", "a; b", "~1", "not a",
        "1j", "abs(x, 1)", "ceil(x, 1)", "max(x)", "min()", "min + 1", "(" * 300 + ")" * 300, "1" * 500,
    ],
)  # fmt: skip
def test_nothing_else(text: str) -> None:
    with pytest.raises(ValueError):
        parsed(text)
