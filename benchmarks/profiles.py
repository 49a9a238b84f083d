"""Time and memory of analysing one large profile: `python benchmarks/profiles.py [--events N] [--folder DIR]`.

A made-up export of Nsight Systems, as it writes them: no indexes, kernels launched from one thread, ranges around
the three stages of each batch. Its analysis is a process of its own; 10 million events may take 60 s and 2 GB.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNELS = 50  # of a batch
ROWS = 2 * (KERNELS + 2) + 3  # of a batch: work, its launches, ranges
LIMIT_S, LIMIT_GB = 60, 2
_EXPORT = """
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, correlationId INT, shortName INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, bytes INT, copyKind INT, srcKind INT, dstKind INT,
    correlationId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, eventClass INT, globalTid INT, correlationId INT);
CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, text TEXT, globalTid INT);
CREATE TABLE batch (i INT);
CREATE TABLE launch (stage TEXT, k INT, key INT);
"""
# A batch every 400 us; its work is 3 ms late. `key` tells the launches of a batch apart.
_FILLED = f"""
INSERT INTO batch WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) SELECT i FROM n;
INSERT INTO launch WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {KERNELS})
    SELECT 'h2d', 0, 0 UNION ALL SELECT 'compute', k, k FROM n UNION ALL SELECT 'd2h', 0, {KERNELS + 1};
INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME SELECT i * 400000 + key * 7000, i * 400000 + key * 7000 + 5000, 0, 7,
    i * {KERNELS + 2} + key + 1 FROM batch CROSS JOIN launch;
INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL SELECT i * 400000 + 3000000 + k * 7000, i * 400000 + 3000000 + k * 7000
    + 4000 + (i * 31 + k * 17) % 4000, 0, i * {KERNELS + 2} + key + 1, k FROM batch CROSS JOIN launch WHERE k > 0;
INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY SELECT i * 400000 + 2700000 + (key > 0) * 660000,
    i * 400000 + 2700000 + (key > 0) * 660000 + 240000 + i * 13 % 9000, 6021120, 1 + (key > 0), 1 + (key > 0),
    2 - (key > 0), i * {KERNELS + 2} + key + 1 FROM batch CROSS JOIN launch WHERE k = 0;
INSERT INTO NVTX_EVENTS SELECT i * 400000 + MIN(key) * 7000 - 500, i * 400000 + MAX(key) * 7000 + 6000, 59,
    stage || ':' || i, 7 FROM batch CROSS JOIN launch GROUP BY i, stage;
"""


def make(path: Path, events: int) -> int:
    """Write an export of about so many events; returns how many."""
    batches = max(1, events // ROWS)
    work = sqlite3.connect(path)
    work.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _EXPORT)
    for statement in filter(str.strip, _FILLED.split(";")):
        work.execute(statement, (batches,) if "?" in statement else ())
    work.executescript("DROP TABLE batch; DROP TABLE launch;")
    work.commit()
    work.close()
    return batches * ROWS


def main() -> int:
    """Print one row; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="for the export (default: a temporary one)")
    parser.add_argument("--analyse", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyse:
        from tilecast.locality.analysis import analyse

        found, _ = analyse(options.analyse)
        batches = options.events // ROWS
        assert (found["kernels"], found["batches"]) == (KERNELS * batches, batches), found
        return 0
    with tempfile.TemporaryDirectory(prefix="profile-", dir=options.folder) as scratch:
        path = Path(scratch, "pipeline_gpu0_numa0_vit32x6x512.sqlite")
        events = make(path, options.events)
        command = [sys.executable, __file__, "--analyse", str(path), "--events", str(events)]
        started = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        _, status, usage = os.wait4(process.pid, 0)
        seconds, memory = time.perf_counter() - started, usage.ru_maxrss / 1e6
        size = path.stat().st_size / 1e9
    if status:
        return 1
    print(
        "| events | export, GB | wall, s | user, s | system, s | GB | written, GB |\n|---|---|---|---|---|---|---|"
    )
    times = f"{seconds:.1f} | {usage.ru_utime:.1f} | {usage.ru_stime:.1f}"
    print(f"| {events} | {size:.2f} | {times} | {memory:.2f} | {usage.ru_oublock * 512 / 1e9:.2f} |")
    return int(seconds > LIMIT_S or memory > LIMIT_GB)


if __name__ == "__main__":
    raise SystemExit(main())
