"""What this project set out to reach, group by group, beside what the authors' predictions and its own reach.

The bars were fixed before any predictor here was trained. Single NVIDIA GPUs; plain cells but for `fusion`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from tilecast.evaluate.errors import SEEN_DEVICES
from tilecast.tables.columns import CELL_KEY
from tilecast.tables.naming import FAMILIES, MODES, device_name, vendor

if TYPE_CHECKING:
    import pandas as pd

OURS, THEIRS = "tilecast", "neusight_published"
COLUMNS = ("group", "n", "theirs_percent", "ours_percent", "bar_percent", "verdict")
H100, A100_80 = "NVIDIA_H100_80GB_HBM3", "NVIDIA_A100_80GB_PCIe"


class Bar(NamedTuple):
    """A group of cells of one of the tables, by what its columns must be, and the mean error to stay within."""

    group: str
    table: str  # cells, phases or operators
    of: Mapping[str, Any]
    percent: float | None = None  # None: the authors' own figure


BARS = (
    Bar("all cells", "cells", {"option": "none"}, 6.5),
    Bar("inference", "cells", {"option": "none", "mode": "inference"}, 7.0),
    Bar("training", "cells", {"option": "none", "mode": "training"}, 5.5),
    Bar("GPUs in training", "cells", {"option": "none", "seen": True}, 6.0),
    Bar("GPUs held out", "cells", {"option": "none", "seen": False}, 6.5),
    Bar("out of distribution", "cells", {"option": "none", "distribution": "out"}, 6.0),
    Bar("H100 inference", "cells", {"option": "none", "device": H100, "mode": "inference"}, 4.5),
    Bar("H100 training", "cells", {"option": "none", "device": H100, "mode": "training"}, 4.5),
    Bar("L4", "cells", {"option": "none", "device": "NVIDIA_L4"}, 8.0),
    Bar("A100-80GB training", "cells", {"option": "none", "device": A100_80, "mode": "training"}, 6.0),
    Bar("T4", "cells", {"option": "none", "device": "Tesla_T4"}, 10.0),
    Bar("P4", "cells", {"option": "none", "device": "Tesla_P4"}, 10.0),
    Bar("fusion", "cells", {"option": "fusion"}, 9.0),
    Bar("forward pass of training", "phases", {"option": "none", "phase": "forward"}, 9.0),
    Bar("backward pass of training", "phases", {"option": "none", "phase": "backward"}, 9.0),
)
OPERATORS = ("bmm", "linear", "elementwise", "softmax", "norm")


def bars_table(cells: pd.DataFrame, phases: pd.DataFrame, operators: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS for every bar; from the `errors`, `phase_errors` and `operator_cells` tables.

    Both means are over the cells that both predictors forecast and somebody measured.
    """
    import pandas as pd

    tables = {"cells": cells, "phases": phases, "operators": operators}
    tables = {name: _of_nvidia(table) for name, table in tables.items()}
    rows = [_row(bar, tables[bar.table]) for bar in (*BARS, *_compared(tables["cells"]))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_nvidia(table: pd.DataFrame) -> pd.DataFrame:
    mine = table[(table["device"].map(vendor) == "NVIDIA") & table["predictor"].isin((OURS, THEIRS))]
    return mine.assign(seen=mine["device"].isin(SEEN_DEVICES))


def _compared(cells: pd.DataFrame) -> Iterator[Bar]:
    """Groups whose bar is the authors' figure: operators out of distribution, and every GPU in each mode."""
    for family in OPERATORS:
        of = {"operator_class": family, "distribution": "out"}
        yield Bar(f"{FAMILIES[family]} operators out of distribution", "operators", of)
    plain = cells[cells["option"] == "none"]
    for device, mode in sorted(set(zip(plain["device"], plain["mode"], strict=True))):
        name = f"{device_name(device)} {MODES.get(mode, mode).lower()}"
        if name not in {bar.group for bar in BARS}:
            yield Bar(name, "cells", {"option": "none", "device": device, "mode": mode})


def _row(bar: Bar, table: pd.DataFrame) -> dict[str, Any]:
    chosen = table[reduce(operator.and_, (table[name] == value for name, value in bar.of.items()))]
    key = [name for name in (*CELL_KEY, "phase", "operator_class") if name in chosen]
    wide = chosen.pivot(index=key, columns="predictor", values="ape_percent")
    wide = wide.reindex(columns=[THEIRS, OURS]).dropna()
    if wide.empty:
        return dict.fromkeys(COLUMNS) | {"group": bar.group, "n": 0, "verdict": "no data"}
    theirs, ours = wide.mean()
    limit = theirs if bar.percent is None else bar.percent
    return {
        "group": bar.group,
        "n": len(wide),
        "theirs_percent": theirs,
        "ours_percent": ours,
        "bar_percent": limit,
        "verdict": "met" if ours <= limit else "open",
    }
