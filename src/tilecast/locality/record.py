"""The record of a measured study as tables, and as the two JSON files that the guide describes."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.locality.compare import compare
from tilecast.locality.model import against
from tilecast.tables.declared.locality import MANIFEST, RECORD, STATUSES
from tilecast.tables.io import check, empty, write

_KEYS = {"study", "definition", "device", "topology", "measured_on", "runs", "profiles"}


def load(path: Path) -> dict[str, Any]:
    """Read and check a record."""
    raw = read_json(path, "run the study, or name its record")
    if not isinstance(raw, dict) or _KEYS - set(raw):
        raise InputError(path, "is not a record of a locality study", f"one has {', '.join(sorted(_KEYS))}")
    return raw


def tables(raw: Mapping[str, Any], where: object = "record") -> dict[str, pd.DataFrame]:
    """The record's tables by the names of `RECORD`."""

    def table(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        chosen = [{column: row.get(column) for column in RECORD[name].columns} for row in rows]
        return check(pd.DataFrame(chosen), RECORD[name], where) if chosen else empty(RECORD[name])

    try:
        runs, topology, profiles = table("runs", map(_run_row, raw["runs"])), raw["topology"], raw["profiles"]
        drawn = ({"cell": row["cell"]} | event for row in profiles for event in row.get("timeline") or [])
        rows: dict[str, Iterable[Mapping[str, Any]]] = {
            "comparison": compare(runs, topology),
            "against": against(runs, raw.get("forecasts", []), topology),
            "profiles": (profile | (profile.get("measures") or {}) for profile in profiles),
            "timeline": drawn,
        }
        return {"runs": runs} | {name: table(name, found) for name, found in rows.items()}
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(where, f"is not a whole record ({type(error).__name__}: {error})") from None


def _run_row(run: Mapping[str, Any]) -> dict[str, Any]:
    values = {"gpu_node": -1, "verified": "unknown", **run}
    if run["status"] == "ok":
        pages = run.get("pages") or {}
        values["batch_ms"] = run["wall_s"] / run["batches"] * 1e3
        values["placement"] = ", ".join(f"node {node}: {number}" for node, number in pages.items()) or None
        values["output_copied"] = "yes" if run["output_copied"] else "no"
    return values


def summary(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The guide's experiment summary: number of runs, of successes, and the throughput of each cell."""
    statuses = Counter(run["status"] for run in raw["runs"])
    ok, planned = statuses["ok"], len(raw["runs"])
    testable = planned - statuses["not testable here"]
    rates: dict[str, list[float]] = {}
    for run in raw["runs"]:
        if run["status"] == "ok":
            rates.setdefault(run["cell"], []).append(run["samples_per_s"])
    return {
        "experiment": raw["study"],
        "device": raw["device"],
        "locality": raw["topology"]["verdict"],
        "cells": len({run["cell"] for run in raw["runs"]}),
        "runs": planned,
        "by_status": {status: statuses[status] for status in STATUSES},
        "success_rate_percent": 100 * ok / planned if planned else None,
        "success_rate_of_testable_percent": 100 * ok / testable if testable else None,
        "median_samples_per_s": {cell: float(pd.Series(found).median()) for cell, found in sorted(rates.items())},
    }


def write_study(raw: Mapping[str, Any], state: Path, output: Path) -> None:
    """Fill the study's folder of results: tables, record, the guide's two JSON files, reports and logs."""
    for name, table in tables(raw, output).items():
        write(table, output / f"{name}.csv", RECORD[name])
    planned = [{name: run[name] for name in MANIFEST.columns} for run in raw["runs"]]
    write(pd.DataFrame(planned), output / "manifest.csv", MANIFEST)
    for name, content in (
        ("measured.json", dict(raw)),
        ("topology.json", raw["topology"]),
        ("results.json", {"definition": raw["definition"], "runs": raw["runs"], "profiles": raw["profiles"]}),
        ("experiment_summary.json", summary(raw)),
    ):
        write_text(output / name, json.dumps(content, indent=1) + "\n")
    for part, folder in (("profiles", "nsys_reports"), ("logs", "logs")):
        for file in sorted((state / part).glob("*")):
            target = output / folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(file, target)  # reports are large, and the state keeps them
            except OSError:
                shutil.copyfile(file, target)
