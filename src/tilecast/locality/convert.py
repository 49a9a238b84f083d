"""Converts reports and torch traces to the SQLite tables of an Nsight Systems export."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from tilecast.base.documents import regular
from tilecast.base.errors import InputError

LARGEST_TRACE_BYTES = 256 << 20
_TIME_LIMIT_S = 1800  # longest a conversion may take
_IMPORTERS = ("host-linux-x64", "lib/nsight-systems/host-linux-x64")  # beside or below a folder above nsys
_CUPTI = """
CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, text TEXT, globalTid INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, correlationId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, bytes INT, copyKind INT, srcKind INT, dstKind INT,
    correlationId INT);
"""
_WAYS = {"HtoD": (1, 1, 2), "DtoH": (2, 2, 1)}  # copyKind, srcKind, dstKind where the host's memory is pinned


def nsys() -> str | None:
    """The Nsight Systems command, or None if it is not installed."""
    return shutil.which("nsys")


def export(path: Path, folder: Path) -> Path:
    """Convert a report to SQLite inside `folder`; a raw recording is imported first."""
    tool = nsys()
    if tool is None:
        remedy = "install Nsight Systems, or export it to SQLite there"
        raise InputError(path, "needs nsys to be converted", remedy)
    raw = path.suffix == ".qdstrm"
    report = import_recording(path, folder / f"{path.stem}.nsys-rep") if raw else path
    target = folder / "export.sqlite"
    _call([tool, "export", "--type=sqlite", "--force-overwrite=true", f"--output={target}", str(report)], path)
    if not target.is_file():
        raise InputError(path, "was not converted by nsys export", "is it a report of Nsight Systems?")
    return target


def import_recording(path: Path, report: Path) -> Path:
    """Turn a .qdstrm recording into a report, as nsys does unless it cannot find its importer."""
    command = Path(nsys() or "/")
    above = (*command.parents, *command.resolve().parents)
    beside = (folder / inside / "QdstrmImporter" for folder in above for inside in _IMPORTERS)
    tool = shutil.which("QdstrmImporter") or next((str(file) for file in beside if file.is_file()), None)
    if tool is None:
        raise InputError(path, "needs QdstrmImporter, a part of Nsight Systems", "install it whole")
    _call([tool, f"--input-file={path}", f"--output-file={report}"], path)
    return report


def _call(command: list[str], path: Path) -> None:
    """Run a converter; InputError at `path` with its last message if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_TIME_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(path, f"{Path(command[0]).name} did not finish ({error})") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        raise InputError(path, f"{Path(command[0]).name} refused it ({lines[-1].strip()})")


def from_torch(trace: Path, target: Path) -> None:
    """Write a trace of torch's profiler as the tables of an export, without the empty ones."""
    regular(trace, LARGEST_TRACE_BYTES)
    try:
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
        complete = [event for event in events if event.get("ph") == "X"]
        if not all(isinstance(event.get("args", {}), dict) for event in complete):
            raise TypeError
    except OSError as error:
        raise InputError(trace, f"cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(trace, "is not a trace of torch's profiler", "expected JSON with `traceEvents`") from None
    work = sqlite3.connect(target)
    work.executescript(_CUPTI)
    try:
        for event in complete:
            _insert(work, event)
        for (table,) in work.execute("SELECT name FROM sqlite_master").fetchall():
            if work.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
                work.execute(f"DROP TABLE {table}")
    except (KeyError, TypeError, ValueError, OverflowError, sqlite3.Error) as error:  # no time, or no number
        raise InputError(trace, f"an event cannot be read ({type(error).__name__}: {error})") from None
    finally:
        work.commit()
        work.close()


def _insert(work: sqlite3.Connection, event: dict[str, Any]) -> None:
    """Write one event to the table of its kind."""

    def row(table: str, *values: object) -> None:
        work.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    start = round(float(event["ts"]) * 1000)
    end = start + round(float(event["dur"]) * 1000)
    kind, name, details = event.get("cat"), str(event.get("name")), event.get("args") or {}
    thread, correlation = event.get("tid", 0), details.get("correlation")
    if kind == "user_annotation":
        row("NVTX_EVENTS", start, end, 59, name, thread)
    elif kind == "kernel":
        row("CUPTI_ACTIVITY_KIND_KERNEL", start, end, correlation)
    elif kind == "gpu_memcpy":
        way = next((word for word in _WAYS if word in name), None)
        copy, source, destination = _WAYS[way] if way else (8, 2, 2)
        if "Pageable" in name:
            source, destination = (0 if side == 1 else side for side in (source, destination))
        size = details.get("bytes", 0)
        row("CUPTI_ACTIVITY_KIND_MEMCPY", start, end, size, copy, source, destination, correlation)
    elif kind in ("cuda_runtime", "cuda_driver"):
        row("CUPTI_ACTIVITY_KIND_RUNTIME", start, end, thread, correlation)
