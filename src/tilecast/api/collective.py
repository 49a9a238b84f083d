"""How long one collective takes on a described system."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated, Literal

from tilecast.api.answer import Timed
from tilecast.api.options import Option, question
from tilecast.api.text import short, size
from tilecast.base.documents import shown
from tilecast.base.errors import InputError
from tilecast.hardware.system import load_system

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
Operation = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv"]


class Collective(Timed):
    """The time of one collective."""

    schema = "tilecast.collective/1"

    def text(self) -> str:
        """One line."""
        found = self.values
        return (
            f"{found['op']} of {size(found['bytes'])} among {len(found['gpus'])} GPUs of {found['system']}: "
            f"{short(found['latency_ms'])} ms ({short(found['low_ms'])} to {short(found['high_ms'])}), "
            f"{found['algorithm']}, {found['protocol']}; {found['basis']}, curves of {found['reference']}"
        )


def _gpus(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise InputError("--gpus", f"{shown(text)} is not understood", "give a number such as 8, or GPUs as 0,2")
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) > 1:
        return numbers
    if not 1 <= numbers[0] <= 1_000_000:
        raise InputError("--gpus", f"{text} GPUs", "give a number from 1 to 1000000")
    return list(range(numbers[0]))


def byte_count(text: str, where: str) -> float:
    """The bytes that `1048576`, `64M`, `64MB` or `1MiB` say."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d{1,2})?)\s*([KMGTkmgt]?[iI]?)[bB]?", text.strip())
    if match is None or match[2].upper() not in _UNITS:
        raise InputError(where, f"{shown(text)} is not a size", "give bytes, or a number with k, MB, MiB, GB, ...")
    return float(match[1]) * _UNITS[match[2].upper()]


@question
def collective(
    op: Annotated[Operation, Option("the operation")],
    system: Annotated[str, Option("a system file (YAML), or a name of `tilecast list systems`")],
    gpus: Annotated[str, Option("how many, or which: 8 or 0,2,4")],
    bytes: Annotated[str, Option("size of the buffer: 1048576, 64M, 1MiB, 2.5GB")],
) -> Collective:
    """Time of a collective operation on a described system of GPUs."""
    members, buffer = _gpus(gpus), byte_count(bytes, "--bytes")
    described = load_system(system)
    from tilecast.multigpu import collectives

    forecast = collectives.collective(op, described, members, buffer)
    rate = buffer / forecast.latency_ms * 1e3 if forecast.latency_ms else None
    asked = {"op": op, "system": described.name, "gpus": members, "bytes": buffer}
    return Collective({**asked, **asdict(forecast), "algorithm_bytes_per_s": rate})
