"""What is wrong with an input file is said in one line: file, entry, key, value, what was expected."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from tilecast.base.errors import InputError
from tilecast.base.inputs import Number, Section, validated


class Part(Section):
    """An entry of a list."""

    rate: float
    name: str = ""


class Whole(Section):
    """A file."""

    count: int = 1
    size: Number = 2.0
    parts: list[Part] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "f: is not a mapping; it has count, size, parts"),
        ([1], "f: is not a mapping; it has count, size, parts"),
        ({"cuont": 1}, "f: unknown key `cuont`; it has count, size, parts"),
        ({"count": True}, "f: `count` = True: Input should be a valid integer"),
        ({"count": "2"}, "f: `count` = '2': Input should be a valid integer"),
        ({"size": "wide"}, "f: `size` = 'wide': Input should be a valid number"),
        ({"size": float("nan")}, "f: `size` = nan: Input should be a finite number"),
        ({"size": 10**5000}, "f: `size` = a number of very many digits: Input should be a valid number"),
        ({10**5000: 1}, "f: Keys should be strings"),
        ({"parts": [3]}, "f: `parts.0` = 3 is not a mapping"),
        ({"parts": [{}]}, "f, part 1: `rate` is missing"),
        ({"parts": [{"rate": 1.0}, {"name": "two", "rate": "x"}]}, "f, part two: `rate` = 'x': Input should be"),
        (
            {"parts": [{"name": "one", "raet": 1.0}]},
            "f, part one: unknown key `raet`",
        ),  # rather than `rate` missing
    ],
)
def test_the_message_names_the_place_and_the_mistake(raw: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validated(Whole, raw, "f")
    assert str(caught.value).startswith(message)


def test_a_number_may_be_written_as_yaml_reads_it() -> None:
    assert validated(Whole, {"size": "1.5e9"}, "f").size == 1.5e9
