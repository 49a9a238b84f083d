"""The record of a measured study, live or shipped, as tables and as the two JSON files the guide describes."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.locality.compare import compare
from tilecast.locality.model import against
from tilecast.tables.io import check, empty, write
from tilecast.tables.locality import STATUSES
from tilecast.tables.schema import TABLES

_KEYS = {"study", "definition", "device", "topology", "measured_on", "runs", "profiles"}


def load(path: Path) -> dict[str, Any]:
    """Read and check a record."""
    raw = read_json(path, "run the study, or name its record")
    if not isinstance(raw, dict) or _KEYS - set(raw):
        raise InputError(path, "is no record of a locality study", f"one has {', '.join(sorted(_KEYS))}")
    return raw


def _frame(rows: list[dict[str, Any]], table: str, where: object) -> pd.DataFrame:
    names = list(TABLES[table].columns)
    if not rows:
        return empty(table)
    return check(pd.DataFrame([{name: row.get(name) for name in names} for row in rows]), table, where)


def _run_row(run: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(run)
    if run["status"] == "ok":
        pages = run.get("pages") or {}
        values["batch_ms"] = run["wall_s"] / run["batches"] * 1e3
        values["placement"] = ", ".join(f"node {node}: {number}" for node, number in pages.items()) or None
        values["output_copied"] = "yes" if run["output_copied"] else "no"
    return {"gpu_node": -1, "verified": "unknown"} | values


def tables(raw: Mapping[str, Any], where: object = "record") -> dict[str, pd.DataFrame]:
    """The record's tables: numa_runs, numa_comparison, numa_against, numa_profiles, numa_timeline."""
    try:
        runs = _frame([_run_row(run) for run in raw["runs"]], "numa_runs", where)
        profiles = [profile | (profile.get("measures") or {}) for profile in raw["profiles"]]
        drawn = [{"cell": row["cell"]} | event for row in raw["profiles"] for event in row.get("timeline") or []]
        comparison = compare(runs, raw["topology"]).to_dict("records")
        measured = _frame(profiles, "numa_profiles", where)
        held = against(runs, raw.get("forecasts", []), raw["topology"]).to_dict("records")
        return {
            "numa_runs": runs,
            "numa_comparison": _frame(comparison, "numa_comparison", where),  # type: ignore[arg-type]
            "numa_against": _frame(held, "numa_against", where),  # type: ignore[arg-type]
            "numa_profiles": measured,
            "numa_timeline": _frame(drawn, "numa_timeline", where),
        }
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(where, f"is no whole record ({type(error).__name__}: {error})") from None


def summary(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What the guide calls the experiment summary: how many runs, how many succeeded, how fast each cell was."""
    statuses = Counter(run["status"] for run in raw["runs"])
    planned, untestable = len(raw["runs"]), statuses["not testable here"]
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
        "success_rate_percent": 100 * statuses["ok"] / planned if planned else None,
        "success_rate_of_testable_percent": (
            100 * statuses["ok"] / (planned - untestable) if planned > untestable else None
        ),
        "median_samples_per_s": {cell: float(pd.Series(found).median()) for cell, found in sorted(rates.items())},
    }


def write_study(raw: Mapping[str, Any], state: Path, output: Path) -> None:
    """Fill the study's folder of results: tables, record, the guide's two JSON files, reports and logs."""
    for name, table in tables(raw, output).items():
        write(table, output / f"{name.removeprefix('numa_')}.csv", name)
    planned = [{name: run[name] for name in TABLES["numa_manifest"].columns} for run in raw["runs"]]
    write(pd.DataFrame(planned), output / "manifest.csv", "numa_manifest")
    for name, content in (
        ("measured.json", dict(raw)),
        ("topology.json", raw["topology"]),
        ("results.json", {"definition": raw["definition"], "runs": raw["runs"], "profiles": raw["profiles"]}),
        ("experiment_summary.json", summary(raw)),
    ):
        write_text(output / name, json.dumps(content, indent=1) + "\n")
    for part, folder in (("profiles", "nsys_reports"), ("logs", "logs")):
        for file in sorted((state / part).glob("*")):
            (output / folder).mkdir(parents=True, exist_ok=True)
            target = output / folder / file.name
            target.unlink(missing_ok=True)
            try:
                os.link(file, target)  # reports are large, and the state keeps them
            except OSError:
                shutil.copyfile(file, target)
