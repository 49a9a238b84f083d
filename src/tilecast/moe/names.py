"""Names in a study file that become parts of output file names.

The workflow reads them before every job, so this module imports little.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from tilecast.base.documents import read_yaml
from tilecast.base.errors import InputError

MODES = {"as_published": "As published", "as_described": "As described", "physical": "Physical"}
STRATEGIES = {"expert_parallel": "Expert Parallel", "data_parallel": "Data Parallel", "hybrid": "Hybrid"}


def figure_names(path: str | Path) -> dict[str, str]:
    """For each system the end of its figures' file names: `8gpu`, or its name if two systems have 8 GPUs."""
    try:
        gpus = {str(system["name"]): int(system["gpus"]) for system in _raw(path)["systems"]}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(path, "`systems` is not a list of systems, each with `name` and `gpus`") from None
    bad = [name for name in gpus if not name or not all(c.isalnum() or c in "_.-" for c in name)]
    if bad or not gpus:
        raise InputError(path, f"system {bad[0]!r} cannot be part of a file's name" if bad else "has no system")
    counts = Counter(gpus.values())
    return {name: f"{count}gpu" if counts[count] == 1 else name for name, count in gpus.items()}


def focus_of(path: str | Path) -> str:
    """The name of the system whose sensitivity is shown."""
    raw = _raw(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("focus"), str):
        raise InputError(path, "names no `focus`", "name the system whose sensitivity is shown")
    return str(raw["focus"])


@lru_cache(maxsize=4)
def _raw(path: str | Path) -> Any:
    return read_yaml(path, "name a study of config/studies")
