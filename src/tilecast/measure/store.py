"""Measurements on disk: for each run a Parquet file and a provenance record, in a folder for each device.

`<root>/<device>/kernels-001.parquet` and `.json`. A run adds files and changes none; what an earlier run timed is
not timed again. A record says `interrupted` until its run has ended; then it holds the Parquet file's checksum.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError
from tilecast.base.files import write_text
from tilecast.tables.declared.artifact import KERNELS
from tilecast.tables.declared.measured import MEASURED
from tilecast.tables.io import DTYPES, empty, read, write

EVERY_S = 5.0  # how often a running measurement is written down
PLANS = {"kernels": "forecasts-kernels.parquet", "models": "forecasts-models.parquet"}  # beside the runs
PACKAGES = ("torch", "transformers", "numpy", "pandas", "pyarrow")


def provenance(path: Path) -> dict[str, Any]:
    """The record beside a run's Parquet file."""
    record = read_json(path.with_suffix(".json"), "restore the provenance record of the measurement")
    if not isinstance(record, dict) or record.get("status") not in ("complete", "interrupted"):
        raise InputError(path.with_suffix(".json"), "is not a record of a measurement", "restore the file")
    return record


def load_run(path: Path, kind: str) -> pd.DataFrame:
    """One run's rows, checked against schema and checksum, with columns `device` and `run`."""
    record = provenance(path)
    if record["status"] == "complete" and record.get("sha256") != digest(path):
        problem = "is not what was measured (its checksum differs)"
        raise InputError(path, problem, "restore the file, or delete the run")
    frame = read(path, MEASURED[kind])
    return frame.assign(device=str(record.get("device", path.parent.name)), run=path.stem)


def runs(folder: Path, kind: str) -> list[Path]:
    """Parquet files of one kind in a device's folder, in the order they were made."""
    return sorted(folder.glob(f"{kind}-*.parquet"))


def training_kernels(paths: Iterable[Path]) -> pd.DataFrame:
    """Runs of measured kernels as a `kernels` table to train on: what was timed in single precision."""
    parts = []
    for path in paths:
        rows = load_run(path, "kernels")
        rows = rows[(rows["outcome"] == "measured") & (rows["dtype"] == "fp32")]
        blocks, threads = _axes(rows["grid"]), _axes(rows["block"])
        sizes = {f"grid_{axis}": blocks[axis] for axis in "xyz"}
        sizes |= {"grid": blocks.prod(axis=1), "block": threads.prod(axis=1)}
        parts.append(rows.assign(split="train", source=path.name, **sizes)[list(KERNELS.columns)])
    return pd.concat(parts, ignore_index=True) if parts else empty(KERNELS)


def _axes(sizes: pd.Series) -> pd.DataFrame:
    """Columns x, y, z of sizes such as 4x2x1; 0 where not recorded."""
    found = sizes.astype("str").str.extract(r"^(?P<x>\d+)x(?P<y>\d+)x(?P<z>\d+)$")
    return found.astype(float).fillna(0).astype(int)


def done(folder: Path, kind: str) -> set[tuple[Any, ...]]:
    """Keys of what earlier runs on this device have an outcome for."""
    return {
        tuple("" if value != value else value for value in row)
        for path in runs(folder, kind)
        for row in load_run(path, kind)[list(MEASURED[kind].key)].itertuples(index=False, name=None)
    }


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Run:
    """A measurement in progress: rows come in, and are on disk a few seconds later."""

    def __init__(self, folder: Path, kind: str, about: Mapping[str, Any]) -> None:
        number = 1 + max((int(path.stem.rsplit("-", 1)[1]) for path in runs(folder, kind)), default=0)
        self.path, self.kind = folder / f"{kind}-{number:03d}.parquet", kind
        self.rows: list[dict[str, Any]] = []
        self._record = {"kind": kind, "started": _now(), **about, "versions": versions()}
        self._written = time.monotonic()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; write everything down when EVERY_S have passed."""
        self.rows.append(dict(row))
        if time.monotonic() - self._written > EVERY_S:
            self.save("interrupted")

    def save(self, status: str, **more: Any) -> None:
        """Write rows and record; without rows nothing."""
        if not self.rows:
            return
        table = MEASURED[self.kind]
        numbers = [name for name, column in table.columns.items() if column.kind == "number"]
        frame = pd.DataFrame(self.rows).reindex(columns=list(table.columns))
        write(frame.astype(dict.fromkeys(numbers, DTYPES["number"])), self.path, table)
        record = self._record | {"status": status, "rows": len(self.rows)} | more
        if status == "complete":
            record["ended"] = _now()
            record["sha256"] = digest(self.path)
        write_text(self.path.with_suffix(".json"), json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self._written = time.monotonic()


def versions() -> dict[str, str]:
    """Versions of everything a timing may depend on."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
