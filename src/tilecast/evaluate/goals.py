"""The errors this project set out to stay within, all in one place, and the table of those of single GPUs.

The goals of cells were set before any predictor here was trained; the document that states a goal says more.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import pandas as pd

from tilecast.evaluate.errors import SEEN_DEVICES
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.declared.evaluation import GOALS as GOALS_TABLE
from tilecast.tables.naming import FAMILIES, MODES, device_name, vendor

OURS, THEIRS = "tilecast", "neusight_published"
H100, A100_80 = "NVIDIA_H100_80GB_HBM3", "NVIDIA_A100_80GB_PCIe"
PLAIN = {"option": "none"}


class Goal(NamedTuple):
    """A group of forecasts, by what the columns of their table must be, and the error to stay within."""

    name: str
    table: str
    of: Mapping[str, Any]
    percent: float | None  # None: the authors' own error
    statistic: str = "mean"


# Where the goals of a table are stated, with what was reached.
STATED = {
    "cells": "docs/evidence/design-log.md",
    "phases": "docs/evidence/design-log.md",
    "operators": "docs/evidence/design-log.md",
    "steps": "docs/use/multigpu.md",
    "collectives": "docs/understand/collectives.md",
    "serving": "docs/evidence/design-log-half-precision.md",
    "generations": "docs/evidence/design-log-half-precision.md",
}
GOALS = (
    Goal("all cells", "cells", PLAIN, 6.5),
    Goal("inference", "cells", PLAIN | {"mode": "inference"}, 7.0),
    Goal("training", "cells", PLAIN | {"mode": "training"}, 5.5),
    Goal("GPUs in training", "cells", PLAIN | {"seen": True}, 6.0),
    Goal("GPUs held out", "cells", PLAIN | {"seen": False}, 6.5),
    Goal("out of distribution", "cells", PLAIN | {"distribution": "out"}, 6.0),
    Goal("H100 inference", "cells", PLAIN | {"device": H100, "mode": "inference"}, 4.5),
    Goal("H100 training", "cells", PLAIN | {"device": H100, "mode": "training"}, 4.5),
    Goal("L4", "cells", PLAIN | {"device": "NVIDIA_L4"}, 8.0),
    Goal("A100-80GB training", "cells", PLAIN | {"device": A100_80, "mode": "training"}, 6.0),
    Goal("T4", "cells", PLAIN | {"device": "Tesla_T4"}, 10.0),
    Goal("P4", "cells", PLAIN | {"device": "Tesla_P4"}, 10.0),
    Goal("fusion", "cells", {"option": "fusion"}, 9.0),
    Goal("forward pass of training", "phases", PLAIN | {"phase": "forward"}, 9.0),
    Goal("backward pass of training", "phases", PLAIN | {"phase": "backward"}, 9.0),
    Goal("steps on four GPUs", "steps", {"suite": "artifact"}, 5.5),
    Goal("steps on four GPUs", "steps", {"suite": "artifact"}, 12.0, "worst"),
    Goal("steps of Megatron-LM 2021", "steps", {"suite": "megatron"}, 5.0),
    Goal("all-reduce", "collectives", {"basis": "leave-one-size-out", "sizes": "from 1 MiB"}, 10.0),
    Goal("all-reduce", "collectives", {"basis": "leave-one-size-out", "sizes": "all"}, 15.0),
    Goal("all-reduce", "collectives", {"basis": "spec-only", "sizes": "all"}, 20.0),
    # Dense models, the GPU's generation left out.
    Goal("time per output token", "serving", {"what": "tpot"}, 15.0, "median"),
    Goal("time to first token", "serving", {"what": "ttft"}, 25.0, "median"),
    # Matrix products in bf16, the generation left out: calls of at least 0.05 ms, and all calls.
    *(
        Goal(f"products on {name}, {calls}", "generations", {"generation": name, "calls": calls}, percent)
        for name, long, every in (
            ("Ampere", 8, 13),
            ("Ada", 11, 16),
            ("Hopper", 7, 10),
            ("Blackwell", 7, 11),
            ("RTX Blackwell", 6, 11),
        )
        for calls, percent in (("long", long), ("all", every))
    ),
)
OPERATORS = ("bmm", "linear", "elementwise", "softmax", "norm")


def goals_of(table: str, **of: Any) -> list[Goal]:
    """The goals of a table whose groups have these values."""
    return [goal for goal in GOALS if goal.table == table and of.items() <= goal.of.items()]


def verdict(errors: Sequence[float | None], goals: Sequence[float | None]) -> str:
    """`met` or `missed`; `no goal` where none is set, `no data` where an error was not computed."""
    if not goals:
        return "no goal"
    pairs = [(error, goal) for error, goal in zip(errors, goals) if error is not None and goal is not None]
    if len(pairs) < len(goals):
        return "no data"
    return "met" if all(error <= goal for error, goal in pairs) else "missed"


def goals_table(cells: pd.DataFrame, phases: pd.DataFrame, operators: pd.DataFrame) -> pd.DataFrame:
    """Error of the authors and of this project in every group of single NVIDIA GPUs, the goal, and the verdict.

    From the tables `errors`, `phase_errors` and `operator_cells`. Both means are over the measured cells that both
    predictors forecast.
    """
    tables = {"cells": cells, "phases": phases, "operators": operators}
    for name, table in tables.items():
        mine = table[(table["device"].map(vendor) == "NVIDIA") & table["predictor"].isin((OURS, THEIRS))]
        tables[name] = mine.assign(seen=mine["device"].isin(SEEN_DEVICES))
    wanted = [goal for goal in GOALS if goal.table in tables]
    rows = [_row(goal, tables[goal.table]) for goal in (*wanted, *_compared(tables["cells"]))]
    return pd.DataFrame(rows, columns=list(GOALS_TABLE.columns))


def _compared(cells: pd.DataFrame) -> Iterator[Goal]:
    """Groups whose goal is the authors' error: operators out of distribution, and every GPU in each mode."""
    for family in OPERATORS:
        of = {"operator_class": family, "distribution": "out"}
        yield Goal(f"{FAMILIES[family]} operators out of distribution", "operators", of, None)
    plain = cells[cells["option"] == "none"]
    for device, mode in sorted(set(zip(plain["device"], plain["mode"], strict=True))):
        name = f"{device_name(device)} {MODES.get(mode, mode).lower()}"
        if name not in {goal.name for goal in GOALS}:
            yield Goal(name, "cells", PLAIN | {"device": device, "mode": mode}, None)


def _row(goal: Goal, table: pd.DataFrame) -> dict[str, Any]:
    chosen = table[reduce(operator.and_, (table[name] == value for name, value in goal.of.items()))]
    key = [name for name in (*CELL_KEY, "phase", "operator_class") if name in chosen]
    wide = chosen.pivot(index=key, columns="predictor", values="ape_percent")
    wide = wide.reindex(columns=[THEIRS, OURS]).dropna()
    if wide.empty:
        return dict.fromkeys(GOALS_TABLE.columns) | {"group": goal.name, "n": 0, "verdict": "no data"}
    theirs, ours = (float(error) for error in wide.mean())
    percent = theirs if goal.percent is None else goal.percent
    figures = (len(wide), theirs, ours, percent, verdict([ours], [percent]))
    return dict(zip(GOALS_TABLE.columns, (goal.name, *figures), strict=True))
