"""Measurements on disk: for each run a Parquet file and a provenance record, in a folder for each device.

`<root>/<device>/kernels-001.parquet` and `.json`. A run adds files and changes none; what an earlier run timed is
not timed again. A record says `interrupted` until its run has ended; then it holds the Parquet file's checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from tilecast.base.documents import read_json
from tilecast.base.errors import InputError, TilecastError
from tilecast.base.files import write_text
from tilecast.measure.backend import Backend
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
    """A measurement in progress: rows come in, and are on disk a few seconds later.

    What an earlier run in `folder` or in a `kept` one has an outcome for is `known`. A run of the `campaign` that
    `about` names is gone on with.
    """

    def __init__(
        self, backend: Backend, folder: Path, kind: str, about: Mapping[str, Any], kept: Sequence[Path] = ()
    ) -> None:
        earlier = [path for place in (folder, *kept) for path in runs(place, kind)]
        number = 1 + max((int(path.stem.rsplit("-", 1)[1]) for path in earlier), default=0)
        self.path, self.kind = folder / f"{kind}-{number:03d}.parquet", kind
        self.rows: list[dict[str, Any]] = []
        own = {"device": backend.name, "title": backend.title, "facts": backend.facts()}
        self.record = {"kind": kind, "started": _now(), **about, **own, "versions": versions()}
        self.known = {key for place in (folder, *kept) for key in done(place, kind)}
        self._saved_at, self.written = time.monotonic(), 0  # rows that are on disk, with a complete record
        last = next(iter(runs(folder, kind)[::-1]), None)
        if last and "campaign" in about and provenance(last).get("campaign") == about["campaign"]:
            self.path, self.record = last, provenance(last) | {"facts": own["facts"]}
            self.rows = [
                {str(name): value for name, value in row.items() if value == value}
                for row in read(last, MEASURED[kind]).to_dict("records")
            ]

    def key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What identifies a row in `known`; a cell that is absent is empty."""
        found = (row.get(name) for name in MEASURED[self.kind].key)
        return tuple("" if value is None or value != value else value for value in found)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; write everything down when EVERY_S have passed. A full disk is tried again later."""
        self.rows.append(dict(row))
        self.known.add(self.key(row))
        if time.monotonic() - self._saved_at > EVERY_S:
            with contextlib.suppress(TilecastError):
                self.save("interrupted")
            self._saved_at = time.monotonic()

    def save(self, status: str, **more: Any) -> None:
        """Write rows and record; without rows nothing."""
        if not self.rows:
            return
        table = MEASURED[self.kind]
        numbers = [name for name, column in table.columns.items() if column.kind == "number"]
        frame = pd.DataFrame(self.rows).reindex(columns=list(table.columns))
        self.record |= more
        record = self.record | {"status": "interrupted", "rows": len(self.rows)}
        self._write(record)  # first: it fits any rows
        write(frame.astype(dict.fromkeys(numbers, DTYPES["number"])), self.path, table)
        if status == "complete":
            self._write(record | {"status": status, "ended": _now(), "sha256": digest(self.path)})
            self.written = len(self.rows)
        self._saved_at = time.monotonic()

    def _write(self, record: Mapping[str, Any]) -> None:
        write_text(self.path.with_suffix(".json"), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


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
