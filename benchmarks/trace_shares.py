"""Trace the kernels of every measured step on many GPUs, and write them to the package's data/shares.json.

`python benchmarks/trace_shares.py` needs torch. The default run reads the file and needs none.
"""

from __future__ import annotations

import pandas as pd

from tilecast.base.paths import PUBLISHED, SHARES
from tilecast.evaluate.published_steps import PUBLISHED_TABLE, TABLES, every_case
from tilecast.models.workload import Workload
from tilecast.multigpu.shard import Shape
from tilecast.multigpu.shipped_shares import key, save


def main() -> None:
    """Trace one GPU's share of every case."""
    labels = pd.read_csv(PUBLISHED / "end_to_end.csv")
    tables = {name: pd.read_csv(PUBLISHED / name) for name in (*TABLES.values(), PUBLISHED_TABLE)}
    wanted: dict[str, tuple[Workload, list[Shape]]] = {}
    for case in every_case(labels[labels["predictor"] == "measured"], tables):
        wanted.setdefault(key(case.work), (case.work, []))[1].append(Shape.of(case.layout))
    save(SHARES, wanted.values())


if __name__ == "__main__":
    main()
