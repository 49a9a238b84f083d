"""Locality: whether it can be tested here, what the studies consist of, what is forecast, what was measured."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tilecast.present.page.render import Column
from tilecast.present.page.results import Results
from tilecast.present.page.sections.figures import of_stage
from tilecast.tables.declared.locality import AGAINST as AGAINST_TABLE
from tilecast.tables.declared.locality import COMPARISON, PROFILES, RUNS
from tilecast.tables.declared.locality import COUNTS as COUNTS_TABLE
from tilecast.tables.declared.locality import PREDICTED as PREDICTED_TABLE

NEEDS = (
    "numa/topology.json",
    "numa/counts.csv",
    "numa/predicted.csv",
    "numa/record/runs.csv",
    "numa/record/comparison.csv",
    "numa/record/against.csv",
    "numa/record/profiles.csv",
    "numa/record/summary.json",
)
COUNTS = (
    Column("study", "Study"),
    Column("place", "Where the guide says", absent="not in the guide"),
    Column("claimed", "Guide", "runs", 0, "not in the guide"),
    Column("listed", "Its lists", "cells", 0),
    Column("cells", "Distinct", "cells", 0),
    Column("rejected", "Rejected: an earlier arm has it", absent="none", prose=True),
    Column("runs", "Runs here", digits=0),
)
SOURCES = (
    Column("copies_from", "Rates of copies"),
    Column("compute_from", "Compute", absent="nothing to compute"),
    Column("launch_from", "Launch"),
)
PREDICTED = (
    Column("host", "Host"),
    Column("model", "Model"),
    Column("penalty_percent", "Penalty", "%", 1),
    Column("local_per_s", "Local", "samples/s", 0),
    Column("bound_remote", "Slowest, remote"),
    Column("compute_ms", "Compute", "ms", 3),
    Column("launch_ms", "Launch", "ms", 3),
    Column("h2d_local_ms", "Copy in, local", "ms", 3),
    Column("h2d_remote_ms", "remote", "ms", 3),
    *SOURCES,
)
MEASURED = (
    Column("cell", "Cell"),
    Column("runs", "Runs", digits=0),
    Column("ok", "Succeeded", "%", 0),
    Column("samples_per_s", "Median", "samples/s", 0, "not measured"),
    Column("low", "Least", "samples/s", 0, "not measured"),
    Column("high", "Most", "samples/s", 0, "not measured"),
    Column("placement", "Pages of its buffers", absent="not measured"),
    Column("overlap_percent", "Copy hidden", "%", 1, "not profiled"),
    Column("busy_percent", "Device busy", "%", 1, "not profiled"),
    Column("reason", "Why not", absent="all ran", prose=True),
)
AGAINST = (
    Column("gpu", "GPU", digits=0),
    Column("cpu_node", "CPU node", digits=0),
    Column("memory_node", "Memory node", digits=0),
    Column("model", "Model"),
    Column("dtype", "Format"),
    Column("bound", "Slowest stage"),
    Column("predicted_per_s", "Forecast", "samples/s", 0),
    Column("measured_per_s", "Measured", "samples/s", 0),
    Column("ape_percent", "Error", "%", 1),
    Column("predicted_penalty_percent", "Penalty forecast", "%", 1, "local"),
    Column("measured_penalty_percent", "measured", "%", 1, "local"),
    *SOURCES,
)
COMPARED = (
    Column("gpu", "GPU"),
    Column("remote_node", "Remote node"),
    Column("factor", "Moved"),
    Column("model", "Model"),
    Column("dtype", "Format"),
    Column("n", "Pairs", digits=0),
    Column("penalty_percent", "Penalty", "%", 1, "not measured"),
    Column("interval", "95 % interval", "%", absent="none", right=True),
    Column("verdict", "Verdict"),
    Column("reason", "Why", absent="", prose=True),
)


def context(results: Results) -> dict[str, Any]:
    """What the section shows; every figure from a results file."""
    counts = results.table("numa/counts.csv", COUNTS_TABLE)
    predicted = results.table("numa/predicted.csv", PREDICTED_TABLE)
    runs = results.table("numa/record/runs.csv", RUNS)
    compared = results.table("numa/record/comparison.csv", COMPARISON)
    profiles = results.table("numa/record/profiles.csv", PROFILES)
    held = results.table("numa/record/against.csv", AGAINST_TABLE)
    assert counts is not None and predicted is not None and runs is not None
    assert compared is not None and profiles is not None and held is not None
    topology, summary = results.json("numa/topology.json"), results.json("numa/record/summary.json")
    assert topology is not None and summary is not None
    plain = predicted[predicted["dtype"] == "fp32"]
    return {
        "verdict": topology["verdict"],
        "nodes": len(topology["nodes"]),
        "gpus": len(topology["gpus"]),
        "record": summary,
        "device": next(iter(runs["device_name"].dropna()), "no device"),
        "load": float(runs["load_average"].max()),
        "agree": int((counts["claimed"] == counts["cells"]).sum()),
        "said": int(counts["claimed"].notna().sum()),
        "unharmed": int((plain["penalty_percent"] < 1).sum()),
        "forecasts": len(plain),
        "counts": counts.to_dict("records"),
        "count_columns": COUNTS,
        "predicted": plain.to_dict("records"),
        "predicted_columns": PREDICTED,
        "measured": _cells(runs, profiles),
        "measured_columns": MEASURED,
        "compared": [_compared(row) for row in compared.to_dict("records")],
        "compared_columns": COMPARED,
        "against": held.to_dict("records"),
        "against_columns": AGAINST,
        "figures": of_stage(results, "numa_"),
        "links": [
            *results.links("numa", "predicted", (".csv",), "Forecasts"),
            *results.links("numa/record", "runs", (".csv",), "Runs"),
            *results.links("numa/record", "profiles", (".csv",), "Profiles"),
            *results.links("numa/record", "comparison", (".csv",), "Comparison"),
        ],
    }


def _cells(runs: pd.DataFrame, profiles: pd.DataFrame) -> list[dict[str, Any]]:
    """A row a cell: how many of its runs succeeded, and their throughput."""
    seen = profiles.set_index("cell")
    rows = []
    for cell in dict.fromkeys(runs["cell"]):
        mine = runs[runs["cell"] == cell]
        done = mine[mine["status"] == "ok"]
        reasons = mine["reason"].dropna()
        rates = done["samples_per_s"]
        rows.append(
            {
                "cell": cell,
                "runs": len(mine),
                "ok": 100 * len(done) / len(mine),
                "samples_per_s": float(rates.median()),
                "low": float(rates.min()),
                "high": float(rates.max()),
                "placement": next(iter(done["placement"].dropna()), None),
                "reason": reasons.iloc[0] if len(reasons) else None,
                **{
                    name: float(seen.loc[cell, name]) if cell in seen.index else None
                    for name in ("overlap_percent", "busy_percent")
                },
            }
        )
    return rows


def _compared(row: dict[Any, Any]) -> dict[str, Any]:
    low, high = row["low_percent"], row["high_percent"]
    interval = None if pd.isna(low) else f"{low:.1f} to {high:.1f}".replace("-", "\u2212")
    return {str(key): value for key, value in row.items()} | {"interval": interval}
