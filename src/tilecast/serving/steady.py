"""Continuous batching in closed form: a server takes prompts between decode steps, and requests queue for it."""

from __future__ import annotations


def queued_ms(service: float, away: float, customers: int) -> float:
    """Mean time in a queue and its service of requests that come back `away` after they left: mean-value analysis.

    R(n) = service (1 + Q(n - 1)), Q(n) = n R(n) / (R(n) + away) (Reiser and Lavenberg, J. ACM 27, 1980).

    One server (prefill), `customers` requests in all; each finds what those without it would have left there.
    """
    waiting, response = 0.0, service
    for count in range(1, customers + 1):
        response = service * (1 + waiting)
        waiting = count * response / (response + away)
    return response


def steady(step_ms: float, prefill_ms: float, concurrency: int, output: int) -> tuple[float, float]:
    """Time to first token and time per output token, milliseconds, of `concurrency` requests always in flight.

    While one request decodes, each of the others is prefilled once, and no step runs meanwhile. A prompt waits for
    the step that runs (if others are there to run one) and for the prompts before it.
    """
    tpot = step_ms + (concurrency - 1) * prefill_ms / output
    ttft = queued_ms(prefill_ms, output * tpot, concurrency) + (step_ms if concurrency > 1 else 0.0)
    return ttft, tpot
