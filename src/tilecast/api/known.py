"""The models, devices, systems and engines that are known by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tilecast.api.answer import Answer
from tilecast.api.options import Option, question
from tilecast.api.text import size, text_table
from tilecast.base.documents import read_json
from tilecast.base.paths import MODELS

if TYPE_CHECKING:
    from tilecast.serving.engines import Engine

What = Literal["models", "devices", "systems", "engines"]


class Known(Answer):
    """Everything known by name, of one kind or of each."""

    schema = "tilecast.list/1"

    def rows(self) -> list[dict[str, Any]]:
        """A row a name."""
        return [{"kind": kind, **row} for kind, rows in self.values.items() for row in rows]

    def text(self) -> str:
        """A table a kind."""
        lines: list[str] = []
        for kind, rows in self.values.items():
            lines += [""] * bool(lines)
            heads = {kind: "<", **dict.fromkeys(list(rows[0])[1:], "<")}
            cells = [[_cell(name, cell) for name, cell in row.items()] for row in rows]
            lines += text_table(heads, cells, gap="  ")
        return "\n".join(lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "memory_bytes":
        return size(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


@question
def known(
    kind: Annotated[What | None, Option("which of them", positional=True)] = None,
) -> Known:
    """Names that the other commands take: models, devices, systems, engines."""
    kinds = {"models": _models, "devices": _devices, "systems": _systems, "engines": _engines}
    return Known({name: rows() for name, rows in kinds.items() if kind in (None, name)})


def _models() -> list[dict[str, Any]]:
    from tilecast.models.registry import HUB, model_names

    found = []
    for name in model_names():
        told = read_json(MODELS / f"{name}.json").get("tilecast", {})
        count = told.get("parameters")
        ids = [hub for hub, meant in HUB.items() if meant == name]
        found.append({"name": name, "title": told.get("title", name), "parameters": count, "hub_ids": ids})
    return found


def _devices() -> list[dict[str, Any]]:
    from tilecast.hardware.device_file import devices

    found = []
    for device in devices().values():
        formats = sorted({"fp32", *device.vector_flops_per_s, *device.matrix_flops_per_s})
        row = {"name": device.short or device.name, "title": device.title, "memory_bytes": device.memory_bytes}
        found.append({**row, "formats": formats})
    return found


def _systems() -> list[dict[str, Any]]:
    from tilecast.hardware.system import load_system, system_names

    every = (load_system(name) for name in system_names())
    return [{"name": one.name, "title": one.title, "device": one.device, "gpus": one.gpus} for one in every]


def _limit(engine: Engine) -> int | None:
    return int(engine.batching.sequences) if math.isfinite(engine.batching.sequences) else None


def _engines() -> list[dict[str, Any]]:
    from tilecast.serving.engines import ENGINES

    return [
        {
            "name": name,
            "title": one.title,
            "token_budget": one.batching.budget,
            "max_requests": _limit(one),
        }
        for name, one in ENGINES.items()
    ]
