"""Errors of forecast collective operations by system, operation and size."""

from __future__ import annotations

import pandas as pd

from tilecast.evaluate.statistics import ALL, summary_of

LARGE_BYTES = 1 << 20
GROUP = ["basis", "system", "op", "sizes"]


def collective_errors(cells: pd.DataFrame) -> pd.DataFrame:
    """The `collectives_mape` table: mean and worst error of all sizes, and of those from 1 MiB."""
    large = cells[cells["bytes"] >= LARGE_BYTES]
    both = pd.concat([cells.assign(sizes=ALL), large.assign(sizes="from 1 MiB")])
    return summary_of(both, GROUP)[[*GROUP, "n", "mape_percent", "worst_percent"]]
