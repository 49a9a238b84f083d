"""Forecasts written before measuring against the measurements, and the error after calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tilecast.base.errors import InputError
from tilecast.base.statistics import absolute_error_percent
from tilecast.evaluate.statistics import ALL, error_summary, inside
from tilecast.measure.describe import DESCRIPTION, read_description
from tilecast.measure.grid import with_work
from tilecast.measure.store import PLANS, digest, load_run, provenance, runs
from tilecast.predict.calibrate import fit
from tilecast.predict.kernel import moved_bytes
from tilecast.tables.declared.measured import (
    KERNEL_KEY,
    LIVE_CALIBRATION,
    LIVE_KERNELS,
    LIVE_MODELS,
    LIVE_SUMMARY,
    PLANNED,
    WORKLOAD_KEY,
)
from tilecast.tables.io import empty, read
from tilecast.tables.schema import Table

STEPS = (0, 2, 4, 8, 16, 32, 64, 128, 256)  # measured kernels a calibration may use
DRAWS = 40
TESTED = 1 / 3  # share of the kernels that calibration never sees


def folders(root: Path) -> list[Path]:
    """The folders below `root` of devices with measurements."""
    described = sorted(path.parent for path in root.glob(f"*/{DESCRIPTION}"))
    return [folder for folder in described if runs(folder, "kernels") or runs(folder, "models")]


def machine(folder: Path, where: str) -> dict[str, Any]:
    """What was measured, on what, with which software: plain values for a reader."""
    description = read_description(folder / DESCRIPTION)
    records = [provenance(path) for kind in ("kernels", "models") for path in runs(folder, kind)]
    last = records[-1] if records else {}
    facts = last.get("facts", {})
    return {
        "where": where,
        "device": description["name"],
        "title": description["title"],
        "described": "measured here" if "known" not in description else "data/devices",
        "rates": {key: description.get(key) for key in ("matrix_flops_per_s", "bandwidth_bytes_per_s")},
        "kernels": sum(record["rows"] for record in records if record["kind"] == "kernels"),
        "models": sum(record["rows"] for record in records if record["kind"] == "models"),
        "runs": len(records),
        "interrupted": sum(record["status"] == "interrupted" for record in records),
        "month": str(last.get("started", ""))[:7],
        "versions": last.get("versions", {}),
        "driver": facts.get("driver"),
        "notes": sorted({note for record in records for note in record.get("facts", {}).get("notes", [])}),
    }


def _plan(folder: Path, kind: str) -> pd.DataFrame:
    """The forecasts in a device's folder; refused where its runs were made after other ones."""
    file = folder / PLANS[kind]
    if not file.exists():
        return empty(PLANNED[kind])
    made = digest(file)
    for path in runs(folder, kind):
        before = provenance(path).get("forecasts_sha256")  # a campaign's names every file of forecasts
        if (before.get(file.name) if isinstance(before, dict) else before) not in (None, made):
            raise InputError(file, f"are not the forecasts {path.name} was measured after", "restore the file")
    return read(file, PLANNED[kind])


def _measured(folder: Path, kind: str) -> pd.DataFrame:
    parts = [load_run(path, kind) for path in runs(folder, kind)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def kernels(folder: Path, where: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `live_kernels` rows of one device, and the kernels that could not be timed."""
    measured, plan = _measured(folder, "kernels"), _plan(folder, "kernels")
    if measured.empty or plan.empty:
        return pd.DataFrame(columns=list(LIVE_KERNELS.columns)), pd.DataFrame(columns=[*KERNEL_KEY, "outcome"])
    for frame in (plan, measured):
        frame["shape"] = frame["shape"].fillna("")
    timed = measured["outcome"] == "measured"
    both = plan.merge(measured[timed], on=list(KERNEL_KEY))
    both = both.assign(
        where=where,
        measured_ms=both["latency_ms"],
        spread_percent=100 * (both["high_ms"] - both["low_ms"]) / both["latency_ms"],
        ape_percent=absolute_error_percent(both["predicted_ms"], both["latency_ms"]),
    )
    return both[list(LIVE_KERNELS.columns)], measured[~timed]


def models(folder: Path, where: str) -> pd.DataFrame:
    """The `live_models` rows of one device: with forecasts where some were made before."""
    measured = _measured(folder, "models")
    if measured.empty:
        return pd.DataFrame(columns=list(LIVE_MODELS.columns))
    both = measured.merge(_plan(folder, "models"), on=list(WORKLOAD_KEY), how="left")
    error = absolute_error_percent(both["predicted_ms"], both["latency_ms"])
    both = both.assign(where=where, measured_ms=both["latency_ms"], ape_percent=error)
    return both[list(LIVE_MODELS.columns)]


def summary(live: pd.DataFrame, untimed: pd.DataFrame) -> pd.DataFrame:
    """The `live_summary` table: error by family and format, and over all; what was not timed is counted beside."""
    rows = []
    for (where, device, predictor), part in live.groupby(["where", "device", "predictor"], sort=True):
        missing = untimed[(untimed["where"] == where) & (untimed["device"] == device)]
        everything = part.assign(family=ALL, dtype=ALL)
        for (family, dtype), group in pd.concat([everything, part]).groupby(["family", "dtype"], sort=True):
            of_group = (missing["family"] == family) & (missing["dtype"] == dtype)
            low, high = (group[name].astype(float) for name in ("predicted_low_ms", "predicted_high_ms"))
            hits = inside(group["measured_ms"], low, high)[low.notna() & high.notna()]
            error = error_summary(group["ape_percent"])
            rows.append(
                {
                    "where": where,
                    "device": device,
                    "predictor": predictor,
                    "family": family,
                    "dtype": dtype,
                    "n": error["n"],
                    "not_timed": len(missing) if family == ALL else int(of_group.sum()),
                    "mape_percent": error["mape_percent"],
                    "median_percent": error["median_percent"],
                    "ratio": float(np.exp(np.log(group["predicted_ms"] / group["measured_ms"]).mean())),
                    "inside_percent": 100 * hits.mean() if len(hits) else None,
                }
            )
    return pd.DataFrame(rows, columns=list(LIVE_SUMMARY.columns))


def calibration(live: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The `live_calibration` table: error on kernels calibration never saw, by how many it did see."""
    rows = []
    for (where, device, predictor), part in live.groupby(["where", "device", "predictor"], sort=True):
        family, dtype = part["family"].to_numpy(), part["dtype"].to_numpy()
        predicted, measured = (part[name].to_numpy(dtype=float) for name in ("predicted_ms", "measured_ms"))
        moved = moved_bytes(with_work(part))
        tested = int(len(part) * TESTED)
        steps = [n for n in STEPS if n <= len(part) - tested]
        if tested == 0:
            continue
        errors: dict[int, list[np.ndarray]] = {n: [] for n in steps}
        generator = np.random.default_rng(seed)
        for _ in range(DRAWS):
            shuffled = generator.permutation(len(part))
            test, rest = shuffled[:tested], shuffled[tested:]
            for n in steps:
                used = rest[:n]
                scales = fit(family[used], dtype[used], measured[used], predicted[used], moved[used])
                shift, _ = scales.of(family[test], dtype[test], predicted[test], moved[test])
                errors[n].append(absolute_error_percent(predicted[test] * np.exp(shift), measured[test]))
        for n in steps:
            means = [error.mean() for error in errors[n]]
            median = np.median(np.concatenate(errors[n]))
            figures = (n, tested, np.mean(means), median, *np.quantile(means, [0.1, 0.9]))
            rows.append((where, device, predictor, *figures))
    return pd.DataFrame(rows, columns=list(LIVE_CALIBRATION.columns))


def evaluate(places: Sequence[tuple[str, Path]], seed: int) -> dict[str, Any]:
    """What the page says of the measurements in each (where, folder of a device): tables, and `machines`."""
    found: dict[str, list[pd.DataFrame]] = {"kernels": [], "models": [], "untimed": []}
    machines = []
    for where, folder in places:
        about = machine(folder, where)
        machines.append(about)
        timed, untimed = kernels(folder, where)
        found["kernels"].append(timed)
        found["untimed"].append(untimed.assign(where=where, device=about["device"]))
        found["models"].append(models(folder, where))
    live = joined(found["kernels"], LIVE_KERNELS)
    untimed = pd.concat(found["untimed"]) if found["untimed"] else pd.DataFrame(columns=["where", "device"])
    return {
        "kernels": live,
        "models": joined(found["models"], LIVE_MODELS),
        "summary": summary(live, untimed),
        "calibration": calibration(live, seed),
        "machines": machines,
    }


def joined(parts: list[pd.DataFrame], table: Table) -> pd.DataFrame:
    """The rows of all parts in the columns of `table`."""
    full = [part for part in parts if len(part)]
    columns = list(table.columns)
    return pd.concat(full, ignore_index=True)[columns] if full else pd.DataFrame(columns=columns)
