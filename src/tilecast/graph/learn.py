"""Learns a record of kernels from traces: finds the loops in each, then the formula of every number across all.

Nothing is taken from a model's class. Launches of traces with other sizes must be the same but for numbers, and
every number must be one formula's value in all of them; what was learnt is then held against traces it did not
see.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, combinations_with_replacement
from math import gcd
from typing import Any

from tilecast.graph.kernels import Launch
from tilecast.graph.symbolic import flops

_NUMBER = re.compile(r"(?<![^._])\d+(?![^.])")  # places in lists of layers, of experts
_FACTORS = 5  # letters in a product
_PERIOD = 24  # nodes that a loop's body may have
_LEAST = 3  # turns that make a loop


@dataclass(frozen=True)
class Node:
    """A launch, a stretch of them, or a loop: text that never changes, sizes, and numbers that count things."""

    text: tuple[Any, ...]
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]


class Unlearnt(Exception):
    """Traces that no single record stands for."""


def structure(launches: Sequence[Launch]) -> Node:
    """The launches with their loops found."""
    leaves, seen = [], 0
    for launch in launches:
        leaf, seen = _leaf(launch, seen)
        leaves.append(leaf)
    return _stretch(_looped(list(_grouped(leaves, [launch.module for launch in launches], 1))))


def _leaf(launch: Launch, seen: int) -> tuple[Node, int]:
    kernel, module = launch.kernel, launch.module
    numbers = [int(number) for number in _NUMBER.findall(module)]
    sizes = [*kernel[4:]]
    new: list[str] = []
    for side in (launch.reads, launch.writes):
        marks = ""
        for wire in side:
            sizes.append(wire.size_bytes)
            new_one = wire.tensor == seen + 1
            marks += "n" if new_one else "o"
            if new_one:
                seen += 1
            else:
                numbers.append(seen - wire.tensor)
        new.append(marks)
    moved = (sum(wire.size_bytes for wire in side) for side in (launch.reads, launch.writes))
    sizes[8:8] = [flops(kernel.family, kernel[4:8]), *moved]  # what follows from dimensions and wires
    text = ("launch", " ".join(kernel[:4]), _NUMBER.sub("{}", module), *new)
    return Node(text, tuple(sizes), tuple(numbers)), seen


def _grouped(leaves: Sequence[Node], modules: Sequence[str], depth: int) -> Iterator[Node]:
    """Launches below one numbered module, at this depth of numbers, become one node."""
    place = 0
    while place < len(leaves):
        prefix, end = _prefix(modules[place], depth), place + 1
        if prefix is None:
            yield leaves[place]
        else:
            while end < len(leaves) and _prefix(modules[end], depth) == prefix:
                end += 1
            yield _stretch(_looped(list(_grouped(leaves[place:end], modules[place:end], depth + 1))))
        place = end


def _prefix(module: str, depth: int) -> str | None:
    ends = [match.end() for match in _NUMBER.finditer(module)]
    return module[: ends[depth - 1]] if len(ends) >= depth else None


def _stretch(nodes: Sequence[Node]) -> Node:
    if len(nodes) == 1:
        return nodes[0]
    return Node(
        ("stretch", *(node.text for node in nodes)),
        tuple(size for node in nodes for size in node.sizes),
        tuple(number for node in nodes for number in node.numbers),
    )


def _looped(nodes: list[Node]) -> list[Node]:
    """Nodes with every repetition of equal ones, whose numbers grow evenly, as a loop."""
    known: dict[Any, int] = {}
    alike = [known.setdefault((node.text, node.sizes), len(known)) for node in nodes]
    found: list[Node] = []
    place = 0
    while place < len(nodes):
        turns, period = max(
            ((_turns(nodes, alike, place, period), period) for period in range(1, _PERIOD + 1)),
            key=lambda turn: (turn[0] * turn[1] if turn[0] >= _LEAST else 0, -turn[1]),
        )
        if turns < _LEAST:
            found.append(nodes[place])
            place += 1
            continue
        body, following = (_stretch(nodes[place + turn * period :][:period]) for turn in (0, 1))
        steps = tuple(b - a for a, b in zip(body.numbers, following.numbers, strict=True))
        found.append(Node(("loop", len(steps), body.text), body.sizes, (turns, *body.numbers, *steps)))
        place += turns * period
    return found


def _turns(nodes: list[Node], alike: list[int], place: int, period: int) -> int:
    """How often the `period` nodes at `place` are repeated, numbers growing evenly."""
    first = alike[place : place + period]
    turns, steps = 1, None
    while alike[place + turns * period : place + (turns + 1) * period] == first:
        at = place + turns * period
        grown = [
            b - a
            for before, after in zip(nodes[at - period : at], nodes[at : at + period])
            for a, b in zip(before.numbers, after.numbers)
        ]
        if steps is not None and grown != steps:
            break
        turns, steps = turns + 1, grown
    return turns


# ---------------------------------------------------------------- formulas


class Formulas:
    """Finds what product of letters, or sum with whole or rational factors, gives a number at every point."""

    def __init__(self, points: Sequence[Mapping[str, int]]) -> None:
        self.points = points
        letters = sorted(set.intersection(*(set(point) for point in points)))
        varied = [letter for letter in letters if len({point[letter] for point in points}) > 1]
        self.products: dict[tuple[int, ...], tuple[int, str]] = {}
        for count in range(_FACTORS + 1):
            for names in combinations_with_replacement(varied, count):
                values = [1] * len(points)
                for letter in names:
                    values = [value * point[letter] for value, point in zip(values, points)]
                shared = gcd(*values)
                if shared:
                    key = tuple(value // shared for value in values)
                    self.products.setdefault(key, (shared, "".join(names)))
        counted = [letter for letter in ("LExr" if "L" in letters else "B") if letter in varied]
        self.counting = ["", *counted, *(f"L{letter}" for letter in counted if letter != "L" and "L" in varied)]

    def size(self, values: Sequence[int]) -> str:
        """A product of letters."""
        shared = gcd(*values)
        if shared == 0:
            return "0"
        found = self.products.get(tuple(value // shared for value in values))
        if found is None:
            return self.number(values)
        return _term(Fraction(shared, found[0]), found[1])

    def number(self, values: Sequence[int]) -> str:
        """A sum of counts: of layers, of experts, of both."""
        for count in range(1, min(4, len(self.points) - 2) + 1):  # two points more than unknown factors
            for names in combinations(self.counting, count):
                factors = self._solved(names, values)
                if factors is not None:
                    terms = [_term(factor, name) for factor, name in zip(factors, names) if factor]
                    return "+".join(terms).replace("+-", "-") or "0"
        raise Unlearnt(f"no formula gives {list(values)} at {self.points}")

    def _solved(self, names: Sequence[str], values: Sequence[int]) -> list[Fraction] | None:
        """The factors of a sum of products, if they give the values everywhere."""
        rows = []
        for point, value in zip(self.points, values):
            row = [Fraction(1)] * len(names)
            for place, name in enumerate(names):
                for letter in name:
                    row[place] *= point[letter]
            rows.append([*row, Fraction(value)])
        for column in range(len(names)):
            pivot = next((row for row in rows[column:] if row[column]), None)
            if pivot is None:
                return None
            rows.remove(pivot)
            rows.insert(column, [value / pivot[column] for value in pivot])
            for place, row in enumerate(rows):
                if place != column and row[column]:
                    rows[place] = [a - row[column] * b for a, b in zip(row, rows[column])]
        if any(row[-1] for row in rows[len(names) :]):
            return None
        return [row[-1] for row in rows[: len(names)]]


def _term(factor: Fraction, names: str) -> str:
    under = f"/{factor.denominator}" if factor.denominator > 1 else ""
    size = "" if factor == 1 and names else "-" if factor == -1 and names else f"{factor.numerator}{under}"
    return size + names


# ---------------------------------------------------------------- records


class Writer:
    """Collects the records of a file; whatever occurs twice is stored once."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.tables: dict[str, dict[str, int]] = {
            name: {
                row if isinstance(row, str) else json.dumps(row): n for n, row in enumerate(known.get(name, []))
            }
            for name in ("heads", "modules", "formulas", "kernels", "wires")
        }

    def file(self) -> dict[str, list[Any]]:
        """The tables that records refer to."""
        plain = ("heads", "modules", "formulas")
        return {
            name: list(rows) if name in plain else [json.loads(row) for row in rows]
            for name, rows in self.tables.items()
        }

    def record(self, traces: Sequence[Node], points: Sequence[Mapping[str, int]]) -> list[Any]:
        """The nodes of the one record that all traces follow; Unlearnt if there is none."""
        if any(trace.text != traces[0].text for trace in traces):
            raise Unlearnt("the traces launch different kernels")
        find = Formulas(points)
        self._size, number = cache(find.size), cache(find.number)
        self._sizes = zip(*(trace.sizes for trace in traces), strict=True)
        numbers = [Sum.parse(number(column)) for column in zip(*(trace.numbers for trace in traces), strict=True)]
        nodes: list[Any] = []
        self._write(traces[0].text, numbers, nodes, 0)
        return nodes

    def _index(self, table: str, row: Any) -> int:
        known = self.tables[table]
        return known.setdefault(row if isinstance(row, str) else json.dumps(row), len(known))

    def _formula(self, formula: object) -> int:
        return self._index("formulas", str(formula))

    def _write(self, text: tuple[Any, ...], numbers: list[Sum], nodes: list[Any], depth: int) -> list[Sum]:
        """Write a node; what is left of the numbers comes back."""
        if text[0] == "stretch":
            for inner in text[1:]:
                numbers = self._write(inner, numbers, nodes, depth)
            return numbers
        if text[0] == "loop":
            _, length, body = text
            if depth > 1:
                raise Unlearnt("loops lie three deep")
            times, base, steps = numbers[0], numbers[1 : 1 + length], numbers[1 + length : 1 + 2 * length]
            turn: list[Any] = []
            self._write(body, [a + b.times("ij"[depth]) for a, b in zip(base, steps)], turn, depth + 1)
            nodes.append([self._formula(times), turn])
            return numbers[1 + 2 * length :]
        _, head, module, *sides = text
        own = iter(numbers)
        places = [self._formula(next(own)) for _ in range(module.count("{}"))]
        *dims, operands = (self._formula(self._size(next(self._sizes))) for _ in range(5))
        stated, following = ([next(self._sizes) for _ in range(3)] for _ in range(2))
        work = [None if a == b else self._formula(self._size(a)) for a, b in zip(stated, following)]
        wires = [[self._wire(mark, own) for mark in side] for side in sides]
        kept = work if any(stated is not None for stated in work) else None
        kernel = [self._index("heads", head), self._index("modules", module), places, dims, operands, kept]
        nodes.append([self._index("kernels", kernel), self._index("wires", wires)])
        return list(own)

    def _wire(self, mark: str, numbers: Iterator[Sum]) -> list[int]:
        size = self._formula(self._size(next(self._sizes)))
        return [size] if mark == "n" else [size, self._formula(next(numbers))]


@dataclass(frozen=True)
class Sum:
    """A formula as factors of products, so that steps of loops can be added to it."""

    factors: tuple[tuple[str, Fraction], ...]

    @classmethod
    def parse(cls, text: str) -> Sum:
        """The sum that `Formulas.number` wrote."""
        parts = re.findall(r"([+-]?)(\d*)(?:/(\d+))?([A-Za-z]*)", text)
        return cls(
            tuple((n, Fraction(int(f"{s}{v or 1}"), int(u or 1))) for s, v, u, n in parts if s or v or u or n)
        )

    def times(self, letter: str) -> Sum:
        """The sum with another letter in every product."""
        return Sum(tuple((names + letter, factor) for names, factor in self.factors))

    def __add__(self, other: Sum) -> Sum:
        found = dict(self.factors)
        for names, factor in other.factors:
            found[names] = found.get(names, Fraction(0)) + factor
        return Sum(tuple(found.items()))

    def __str__(self) -> str:
        terms = [_term(factor, names) for names, factor in sorted(self.factors) if factor]
        return "+".join(terms).replace("+-", "-") or "0"
