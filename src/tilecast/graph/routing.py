"""How tokens are distributed over experts: a parameter, because tracing has no data to route."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tilecast.base.errors import InputError


@dataclass(frozen=True)
class Routing:
    """`exponent` 0: every expert gets the same; above: expert i gets a share of 1 / i^exponent (Zipf).

    `capacity`: an expert takes at most this many times its even share, and drops the rest.
    """

    exponent: float = 0.0
    capacity: float | None = None

    def tokens(self, assignments: int, experts: int, limit: int | None = None) -> list[int]:
        """Tokens of each expert when `assignments` are spread over `experts`, none above `limit`.

        Shares are rounded to whole tokens by largest remainder, so without a limit they add up to `assignments`.
        """
        weights = [(i + 1) ** -self.exponent for i in range(experts)]
        whole = sum(weights)
        shares = [assignments * weight / whole for weight in weights]
        counts = [int(share + 1e-9) for share in shares]
        remainders = sorted(range(experts), key=lambda i: (counts[i] - shares[i], i))
        for i in remainders[: assignments - sum(counts)]:
            counts[i] += 1
        if self.capacity is not None:
            own = math.ceil(self.capacity * assignments / experts - 1e-9)
            limit = own if limit is None else min(limit, own)
        return [count if limit is None else min(count, limit) for count in counts]

    def __str__(self) -> str:
        parts = [f"zipf:{self.exponent:g}" if self.exponent else "balanced"]
        return ",".join([*parts, *([f"capacity:{self.capacity:g}"] if self.capacity is not None else [])])


def parse_routing(text: str) -> Routing:
    """`balanced`, `zipf:1.2`, `capacity:1.25`, or two of them with a comma."""
    values: dict[str, float] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(balanced|zipf|capacity)(?::([0-9.]+))?\s*", part)
        try:
            if match is None or (match[1] == "balanced") != (match[2] is None):
                raise ValueError
            values[match[1]] = float(match[2]) if match[2] else 0.0
        except ValueError:
            raise InputError(
                "routing", f"{text!r} is not known", "expected balanced, zipf:1.2 or capacity:1.25"
            ) from None
    if values.get("capacity", 1.0) <= 0:
        raise InputError("routing", f"{text!r} gives experts no tokens", "a capacity is above 0")
    return Routing(values.get("zipf", 0.0), values.get("capacity"))
