"""What clients send to a server: how many requests, when, and of what lengths."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from tilecast.base.arrays import Array
from tilecast.base.documents import read_text
from tilecast.base.errors import InputError
from tilecast.base.limits import MOST, check

ROUNDS = 3  # rounds of a closed loop that are replayed; those after the first stand for all but the first
REQUESTS = 2000  # requests of an open loop, after those that fill the server


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts or of answers: drawn evenly between a share of the longest and all of it, or lognormal."""

    longest: float  # the median of a lognormal distribution
    shortest: float = 1.0  # share of the longest
    sigma: float = 0.0  # of the logarithm; above 0: lognormal

    @property
    def mean(self) -> float:
        """Mean tokens."""
        if self.sigma:
            return self.longest * math.exp(self.sigma**2 / 2)
        return (1 + self.shortest) / 2 * self.longest

    def draw(self, uniform: Array, least: int) -> Array:
        """Whole tokens, at least `least`, for numbers drawn evenly between 0 and 1."""
        import numpy as np  # here and below: options are checked without it

        if self.sigma:
            from scipy.special import ndtri

            tokens = self.longest * np.exp(self.sigma * ndtri(np.clip(uniform, 1e-9, 1 - 1e-9)))
        else:
            tokens = (self.shortest + (1 - self.shortest) * uniform) * self.longest
        return np.maximum(np.rint(tokens), least)

    @classmethod
    def parse(cls, text: str, where: str, least: int = 1) -> Lengths:
        """`1024`, `800-1024` (evenly), or `lognormal:600:0.8` (median and sigma of the logarithm)."""
        if match := re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", text.strip()):
            low, high = int(match[1]), int(match[2] or match[1])
            check("sequence", high, where, least=least)
            if low > high:
                raise InputError(where, f"{text!r} is no range of tokens", "give the shorter length first")
            check("sequence", low, where, least=least)
            return cls(high, low / high)
        if match := re.fullmatch(r"lognormal:(\d{1,9}):(\d(?:\.\d{1,6})?)", text.strip()):
            median, sigma = int(match[1]), float(match[2])
            if median < 1 or not 0 < sigma <= 3:
                raise InputError(where, f"{text!r} is no distribution of tokens", "sigma is above 0, at most 3")
            return cls(median, sigma=sigma)
        raise InputError(where, f"{text!r} is no length", "give 1024, 800-1024 or lognormal:600:0.8")


@dataclass(frozen=True)
class Load:
    """Requests of one server: a closed loop of `concurrency` clients, an open one at `rate_per_s`, or a trace."""

    prompt: Lengths
    output: Lengths
    concurrency: int = 0
    rate_per_s: float = 0.0
    trace: tuple[tuple[float, float, float], ...] = ()  # (seconds, prompt tokens, output tokens) in order of time
    rounds: int = 10  # requests in a row each client of a closed loop sends
    cached: float = 0.0  # share of a prompt that the server still holds from an earlier request

    def requests(self, seed: int = 0) -> Requests:
        """The requests that are replayed."""
        import numpy as np

        if self.trace:
            times, prompts, outputs = (np.array(column) for column in zip(*self.trace, strict=True))
            return Requests(prompts * (1 - self.cached), outputs.astype(int), prompts, times * 1e3)
        total = self.concurrency * min(ROUNDS, self.rounds) if self.concurrency else REQUESTS
        random = np.random.default_rng(seed)
        draws = random.uniform(0, 1, (total, 2))
        prompts = self.prompt.draw(draws[:, 0], 1)
        outputs = self.output.draw(draws[:, 1], 2).astype(int)
        arrivals = None
        if not self.concurrency:  # a Poisson process: intervals are exponential
            arrivals = np.cumsum(random.exponential(1e3 / self.rate_per_s, total))
        return Requests(np.maximum(prompts * (1 - self.cached), 1), outputs, prompts, arrivals)


@dataclass(frozen=True)
class Requests:
    """Requests in the order they are sent; without arrival times each waits for an earlier one's answer."""

    prompt: Array  # tokens to prefill
    output: Array  # tokens to make
    length: Array  # tokens of the whole prompt
    arrival_ms: Array | None


def read_trace(path: str | Path) -> tuple[tuple[float, float, float], ...]:
    """Requests of a CSV with the columns seconds, prompt, output."""
    lines = read_text(path).splitlines()
    if not lines or [name.strip() for name in lines[0].split(",")] != ["seconds", "prompt", "output"]:
        raise InputError(path, "has no header seconds,prompt,output")
    found: list[tuple[float, float, float]] = []
    most = MOST["sequence"][0]
    for number, line in enumerate(lines[1:], 2):
        try:
            at, prompt, output = (float(part) for part in line.split(","))
        except ValueError:
            raise InputError(f"{path}, line {number}", f"{line[:40]!r} is not three numbers") from None
        if not (0 <= at < 1e9 and 1 <= prompt <= most and 2 <= output <= most):
            raise InputError(
                f"{path}, line {number}",
                "a time below 0, or a length that is none",
                "an answer has 2 tokens or more",
            )
        if found and at < found[-1][0]:
            raise InputError(f"{path}, line {number}", "is earlier than the line before", "sort by seconds")
        found.append((at, prompt, output))
    if not found:
        raise InputError(path, "holds no request")
    return tuple(found)
