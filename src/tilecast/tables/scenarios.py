"""The table of scenarios: apart from what fills it, so that a page can read it without building models."""

from __future__ import annotations

from tilecast.tables.schema import TABLES, Column, Table

SCENARIOS = "scenarios"


def _milliseconds(meaning: str) -> Column:
    return Column("number", f"{meaning}, milliseconds", nullable=True, above=0)


def _percent(meaning: str) -> Column:
    return Column("number", meaning, nullable=True, minimum=0)


TABLES[SCENARIOS] = Table(
    {
        "id": Column("text", "name of the scenario"),
        "title": Column("text", "what it is"),
        "device": Column("text", "GPU"),
        "layout": Column("text", "how it is divided among GPUs"),
        "compute_ms": _milliseconds("forecast without communication"),
        "latency_ms": _milliseconds("forecast with communication"),
        "low_ms": _milliseconds("low end of its 80 % interval"),
        "high_ms": _milliseconds("high end"),
        "truth_low_ms": _milliseconds("least measured by others"),
        "truth_high_ms": _milliseconds("most measured by others"),
        "truth_source": Column("text", "who measured", nullable=True),
        "compute_ape_percent": _percent("error without communication, of the middle of what was measured"),
        "ape_percent": _percent("error with it"),
        "outcome": Column("text", "forecast, or failed", values=("forecast", "failed")),
        "reason": Column("text", "why it failed", nullable=True),
    },
    key=("id",),
)
