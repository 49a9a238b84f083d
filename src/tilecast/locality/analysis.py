"""Measures of a profile: rates of copies, time in kernels, overlap, gaps, busy share, time of each batch.

SQL filters, joins and sorts; then each measure is one pass over sorted starts and ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilecast.base.errors import InputError, TilecastError
from tilecast.locality.export import D2H, H2D, KERNEL, SUFFIXES, opened
from tilecast.locality.study import parse_name

Times = NDArray[np.int64]  # nanoseconds
BATCH_SIZE = 10  # of a profile whose study is not known, as the guide sets it
TIMELINE_EVENTS = 400  # of one profile; a longer stretch is cut
_STAGES = {H2D: "h2d", KERNEL: "compute", D2H: "d2h"}


def merged(starts: Times, ends: Times) -> tuple[Times, Times]:
    """The union of intervals with sorted starts, as disjoint intervals in order; touching ones are joined."""
    if not len(starts):
        return starts, ends
    reach = np.maximum.accumulate(ends)
    first = np.concatenate(([True], starts[1:] > reach[:-1]))
    last = np.concatenate((np.flatnonzero(first)[1:] - 1, [len(starts) - 1]))
    return starts[first], reach[last]


def length(starts: Times, ends: Times) -> int:
    """Time covered by the union of intervals with sorted starts."""
    first, last = merged(starts, ends)
    return int((last - first).sum())


def overlap(one: tuple[Times, Times], other: tuple[Times, Times]) -> int:
    """Time covered by both unions."""
    starts, ends = np.concatenate((one, other), axis=1)
    order = np.argsort(starts, kind="stable")
    return length(*one) + length(*other) - length(starts[order], ends[order])


def _times(work: sqlite3.Connection, condition: str = "1") -> tuple[Times, Times]:
    """Starts and ends of the device's work that fulfils the condition, by start."""
    found = work.execute(f"SELECT start, end FROM gpu WHERE {condition} ORDER BY start")
    pairs = np.fromiter(found, dtype=[("start", "i8"), ("end", "i8")])
    return pairs["start"], pairs["end"]


def _values(work: sqlite3.Connection, query: str) -> NDArray[np.float64]:
    """The one column of a query."""
    return np.fromiter((value for (value,) in work.execute(query)), dtype=float)


def _percentile(values: NDArray[Any], share: float) -> float | None:
    return float(np.percentile(values, share)) if len(values) else None


def _copies(work: sqlite3.Connection, name: str, kind: int) -> dict[str, Any]:
    count, size, pinned = work.execute(
        "SELECT COUNT(*), COALESCE(SUM(bytes), 0), AVG(pinned) FROM gpu WHERE kind = ?", (kind,)
    ).fetchone()
    rates = _values(
        work, f"SELECT bytes * 1e9 / (end - start) FROM gpu WHERE kind = {kind} AND end > start AND bytes > 0"
    )
    found: dict[str, Any] = {f"{name}_copies": count, f"{name}_bytes": size}
    for share in (1, 50, 99):
        found[f"{name}_p{share}_bytes_per_s"] = _percentile(rates, share)
    if kind == H2D:
        found["h2d_pinned_percent"] = None if pinned is None else 100 * pinned
    return found


# GPU work outlives the range that launched it: a range's launches lead to it by their correlation.
_PROJECTED = """
FROM range CROSS JOIN launch ON launch.thread = range.thread
    AND launch.start >= range.start AND launch.start <= range.end
CROSS JOIN gpu ON gpu.correlation = launch.correlation
"""


def _batches(work: sqlite3.Connection) -> NDArray[Any]:
    """Number, start and end of each batch, by start."""
    query = f"""
        SELECT range.batch, COALESCE(MIN(CASE WHEN gpu.kind = {H2D} THEN gpu.start END), MIN(gpu.start)),
            COALESCE(MAX(CASE WHEN gpu.kind = {D2H} THEN gpu.end END), MAX(gpu.end))
        {_PROJECTED} GROUP BY range.batch ORDER BY 2
    """
    return np.fromiter(work.execute(query), dtype=[("batch", "i8"), ("start", "i8"), ("end", "i8")])


def metrics(work: sqlite3.Connection, batch_size: int) -> dict[str, Any]:
    """The measures of one opened profile; None where the profile lacks what a measure needs."""
    kernels, copies_in = _times(work, f"kind = {KERNEL}"), _times(work, f"kind = {H2D}")
    everything = _times(work)
    busy_starts, busy_ends = merged(*kernels)
    gaps = (busy_starts[1:] - busy_ends[:-1]) / 1e6
    span = int(everything[1].max() - everything[0].min()) if len(everything[0]) else 0
    waits = _values(
        work,
        "SELECT gpu.start - MIN(launch.start) FROM gpu CROSS JOIN launch "
        f"ON launch.correlation = gpu.correlation WHERE gpu.kind = {KERNEL} GROUP BY gpu.rowid",
    )
    batches = _batches(work)
    each = (batches["end"] - batches["start"]) / 1e6
    whole = int(batches["end"].max() - batches["start"].min()) if len(batches) else 0
    copying = length(*copies_in)
    return {
        "batch_size": batch_size,
        "span_ms": span / 1e6,
        "kernels": len(kernels[0]),
        "kernel_ms": float((kernels[1] - kernels[0]).sum() / 1e6),
        "kernel_busy_ms": float((busy_ends - busy_starts).sum() / 1e6),
        **_copies(work, "h2d", H2D),
        **_copies(work, "d2h", D2H),
        "overlap_percent": 100 * overlap(copies_in, kernels) / copying if copying else None,
        "gap_p50_ms": _percentile(gaps, 50),
        "gap_p99_ms": _percentile(gaps, 99),
        "launch_p50_ms": None if not len(waits) else float(np.percentile(waits, 50)) / 1e6,
        "busy_percent": 100 * length(*everything) / span if span else None,
        "batches": len(batches),
        "batch_p50_ms": _percentile(each, 50),
        "batch_p99_ms": _percentile(each, 99),
        "profiled_per_s": len(batches) * batch_size / whole * 1e9 if whole else None,
    }


def timeline(work: sqlite3.Connection, batches: int = 2) -> list[dict[str, Any]]:
    """The work of some batches in the middle, from the first event shown; empty without ranges."""
    found = _batches(work)["batch"]
    query = f"SELECT DISTINCT gpu.kind, gpu.start, gpu.end {_PROJECTED} WHERE range.batch = ? ORDER BY gpu.start"
    rows = []
    for batch in map(int, found[max(0, (len(found) - batches) // 2) :][:batches]):
        rows += [(batch, *row) for row in work.execute(query, (batch,)) if row[0] in _STAGES]
    origin = min((start for _, _, start, _ in rows), default=0)
    names = ("batch", "stage", "start_ms", "end_ms")
    return [
        dict(zip(names, (batch, _STAGES[kind], (start - origin) / 1e6, (end - origin) / 1e6)))
        for batch, kind, start, end in sorted(rows, key=lambda row: row[2])[:TIMELINE_EVENTS]
    ]


def analyse(path: Path, batch_size: int = BATCH_SIZE) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measures and timeline of one profile; InputError where it cannot be read."""
    with opened(path) as work:
        return metrics(work, batch_size), timeline(work)


def profiles_in(folder: Path) -> list[Path]:
    """The profiles of a folder; of a profile in several formats, the one that is quickest to read."""
    if not folder.is_dir():
        raise InputError(folder, "is not a directory", "name one with .nsys-rep or .sqlite files")
    best: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            key = str(path.with_suffix(""))
            if key not in best or SUFFIXES.index(path.suffix) < SUFFIXES.index(best[key].suffix):
                best[key] = path
    if not best:
        raise InputError(folder, "has no profile", f"expected files ending in {', '.join(SUFFIXES)}")
    return [best[key] for key in sorted(best)]


def analyse_folder(paths: Iterable[Path], batch_size: int) -> list[dict[str, Any]]:
    """A row for each profile: its cell and measures, or one line that says why it has none."""
    rows = []
    for path in paths:
        row: dict[str, Any] = {"cell": path.stem, "profiler": "torch" if path.suffix == ".json" else "nsys"}
        try:
            row |= asdict(parse_name(path.stem, path)) | {"status": "ok", "reason": None}
            row |= analyse(path, batch_size)[0]
        except TilecastError as error:
            row |= {"status": "failed", "reason": str(error)}
        rows.append(row)
    return rows
