"""Tables of a forecast beside its simple rivals: an error a column, and who wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilecast.present.page.shown import records, shown
from tilecast.tables.naming import PREDICTORS, RIVALS, ordered
from tilecast.tables.schema import Table, amount

if TYPE_CHECKING:
    import pandas as pd

OURS, NAMES = "tilecast", PREDICTORS | RIVALS


def context(table: pd.DataFrame, declared: Table, keys: Sequence[str]) -> dict[str, Any]:
    """A row a group: the error of every forecast, on what share of cases ours is closer, and where it loses."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    names = ordered(NAMES, table["predictor"])
    lost = []
    for row in records(table):
        key = tuple(row[name] for name in keys)
        group = rows.setdefault(key, {name: row[name] for name in keys} | {"n": row["n"]})
        group |= {row["predictor"]: row["mape_percent"], f"{row['predictor']}_closer": row["closer_percent"]}
    for key, group in rows.items():
        better = [name for name in names if group.get(name) is not None and group[name] < group[OURS]]
        if better:
            who = ", ".join(f"{NAMES[name]} {group[name]:.1f}" for name in better)
            lost.append(f"{', '.join(map(str, key))}: {who}, against {group[OURS]:.1f} %")
    columns = {name: amount("MAPE", title=NAMES[name], unit="%", empty="not done") for name in names}
    closer = {
        f"{name}_closer": amount("share", title=NAMES[name], unit="%", digits=0, empty="not done")
        for name in names
        if name != OURS
    }
    filled = [dict.fromkeys([*columns, *closer]) | group for group in rows.values()]
    return {
        "errors": shown(filled, declared, " ".join([*keys, "n", *columns]), **columns),
        "closer": shown(filled, declared, " ".join([*keys, "n", *closer]), **closer),
        "lost": lost,
        "groups": len(rows),
    }
