"""Collectives and steps on many GPUs: measured, forecast, searched."""

from __future__ import annotations

from tilecast.tables.columns import LATENCY
from tilecast.tables.schema import Table, integer, number, text

# transcribed: resources/published/nccl_collectives.csv
COLLECTIVE_MEASUREMENTS = Table(
    "collective_measurements",
    {
        "system": text("system, as data/systems names it"),
        "nccl": text("version of NCCL"),
        "op": text("collective"),
        "gpus": integer("GPUs of the group", above=1),
        "bytes": integer("size of the whole buffer, as nccl-tests counts", above=0),
        "latency_ms": LATENCY,
    },
    key=("system", "op", "gpus", "bytes"),
)

# collectives forecast and measured
COLLECTIVES = Table(
    "collectives",
    {
        "basis": text("what was left out", values=("leave-one-size-out", "spec-only")),
        "system": text("system, as data/systems names it"),
        "op": text("collective"),
        "gpus": integer("GPUs of the group", above=1),
        "bytes": integer("size of the whole buffer, as nccl-tests counts", above=0),
        "reference": text("measured system whose curves were used"),
        "measured_ms": LATENCY,
        "predicted_ms": number("forecast of the curves as shipped, milliseconds", above=0),
        "held_out_ms": number("forecast without this size, or this system, milliseconds", above=0),
        "ape_percent": number("absolute percentage error of the held-out forecast", minimum=0),
    },
    key=("basis", "system", "op", "gpus", "bytes"),
)

COLLECTIVES_MAPE = Table(
    "collectives_mape",
    {
        "basis": text("what was left out", values=("leave-one-size-out", "spec-only")),
        "system": text("system, as data/systems names it"),
        "op": text("collective"),
        "sizes": text("which sizes", values=("all", "from 1 MiB")),
        "n": integer("cells averaged", above=0),
        "mape_percent": number("mean absolute percentage error", minimum=0),
        "worst_percent": number("largest absolute percentage error", minimum=0),
    },
    key=("basis", "system", "op", "sizes"),
)
