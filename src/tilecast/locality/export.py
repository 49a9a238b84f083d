"""A profile as a small database, from an Nsight Systems export of any version or a file that converts to one.

The file itself is only read. The rows needed are copied into a temporary database with indexes.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tilecast.base.errors import InputError
from tilecast.locality.convert import export, from_torch

KERNEL, H2D, D2H, OTHER = 0, 1, 2, 3  # kinds of work on the device
PINNED = 1  # CUDA_MEMOPR_MEMORY_KIND_PINNED
# Ranges in NVTX_EVENTS: pushed and popped, started and ended, and both as imported from text files.
RANGE_EVENTS = (59, 60, 70, 71)
KERNEL_TABLES = ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL")
COPY_TABLE = "CUPTI_ACTIVITY_KIND_MEMCPY"
OTHER_TABLE = "CUPTI_ACTIVITY_KIND_MEMSET"
LAUNCH_TABLES = ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER")
REPORTS = (".nsys-rep", ".qdrep", ".qdstrm")
SUFFIXES = (".sqlite", ".json", *REPORTS)
_CPU_STAGE = re.compile(r"^cpu (h2d|compute|d2h) (\d+):\d+\Z")  # stage and bytes of the CPU device's ranges
_BATCH = re.compile(r"(\d{1,12})\s*$")

LATEST_NS = 1 << 61  # seventy years; differences of times beyond it would overflow
_TIMED = (
    "typeof(start) = 'integer' AND typeof(end) = 'integer' AND end >= start "
    f"AND start >= {-LATEST_NS} AND end <= {LATEST_NS}"
)
MOST_PAIRS = 50_000_000  # of a launch and what it started; a hundred times what ten million events have
_PAIRS = """
SELECT SUM(launched.n * ran.n)
FROM (SELECT correlation, COUNT(*) AS n FROM launch GROUP BY correlation) AS launched
JOIN (SELECT correlation, COUNT(*) AS n FROM gpu GROUP BY correlation) AS ran USING (correlation)
"""
_SCHEMA = """
CREATE TABLE gpu (kind INT, start INT, end INT, bytes INT, pinned INT, correlation INT);
CREATE TABLE launch (thread INT, start INT, end INT, correlation INT);
CREATE TABLE range (thread INT, start INT, end INT, batch INT, stage TEXT, bytes INT);
"""
_INDEXES = """
CREATE INDEX gpu_by_time ON gpu (kind, start, end);
CREATE INDEX gpu_by_correlation ON gpu (correlation);
CREATE INDEX launch_by_time ON launch (thread, start, correlation);
CREATE INDEX launch_by_correlation ON launch (correlation, start);
"""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A temporary database with the tables `gpu`, `launch` and `range`, filled from the profile at `path`."""
    with tempfile.TemporaryDirectory(prefix="tilecast-profile-") as folder:
        source = path
        if path.suffix in REPORTS:
            source = export(path, Path(folder))
        elif path.suffix == ".json":
            source = Path(folder) / "trace.sqlite"
            from_torch(path, source)
        _check_file(source, path)
        work = sqlite3.connect(Path(folder) / "work.sqlite", uri=True, isolation_level=None)
        try:
            work.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-200000;")
            work.execute("ATTACH ? AS export", (f"{source.resolve().as_uri()}?mode=ro&immutable=1",))
            work.executescript(_SCHEMA)
            work.execute("BEGIN")
            _copy(work, path)
            work.execute("COMMIT")
            work.executescript(_INDEXES + "ANALYZE main;")
            if (work.execute(_PAIRS).fetchone()[0] or 0) > MOST_PAIRS:
                problem = "the same correlation ids stand for many launches and much of the GPU's work"
                raise InputError(path, problem, "export it again")
            yield work
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the second: text that is not UTF-8
            raise InputError(path, f"cannot be read as SQLite ({error})", "export it again") from None
        finally:
            work.close()


def _check_file(file: Path, shown: Path) -> None:
    """Refuse a file that is not SQLite, or that is not whole: too short, or with changes in a file beside it."""
    try:
        with file.open("rb") as stream:
            head = stream.read(100)
        size = file.stat().st_size
    except OSError as error:
        raise InputError(shown, f"cannot be read ({error.strerror})") from None
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        raise InputError(shown, "is not a SQLite file", "nsys export --type=sqlite makes one of a report")
    page = int.from_bytes(head[16:18])
    promised = (65536 if page == 1 else page) * int.from_bytes(head[28:32])
    if size < promised:
        raise InputError(shown, f"is truncated: {size} of {promised} bytes", "export it again")
    if (beside := file.with_name(f"{file.name}-wal")).exists() and beside.stat().st_size:
        raise InputError(shown, f"is not whole: {beside.name} holds changes to it", "export it again")


def _columns(work: sqlite3.Connection, table: str, needed: Set[str] = frozenset({"start", "end"})) -> set[str]:
    """Columns of a table of the export; empty if it has no such table with the columns needed.

    Views and virtual tables do not count: reading one runs what its maker wrote, which need not end.
    """
    stored = work.execute("SELECT sql FROM export.sqlite_master WHERE type = 'table' AND name = ?", (table,))
    if not str((stored.fetchone() or [""])[0]).upper().startswith("CREATE TABLE"):
        return set()
    found = {row[1] for row in work.execute(f"PRAGMA export.table_info('{table}')")}
    return found if needed <= found else set()


def _or(name: str, known: set[str], otherwise: str = "NULL") -> str:
    return f'"{name}"' if name in known else otherwise


def _copy(work: sqlite3.Connection, path: Path) -> None:
    """Fill the three tables from the tables that the export has."""
    kernels = next((name for name in KERNEL_TABLES if _columns(work, name)), None)
    copies = _columns(work, COPY_TABLE)
    _copy_ranges(work)
    if kernels is None and not copies:
        if _stages_as_work(work):
            return
        remedy = "nothing ran on a GPU, or it was recorded without --trace=cuda"
        raise InputError(path, "has no CUDA tables", remedy)
    for table, kind in ((kernels, KERNEL), (OTHER_TABLE, OTHER)):
        if table is not None and (found := _columns(work, table)):
            work.execute(
                f"INSERT INTO gpu SELECT {kind}, start, end, NULL, NULL, {_or('correlationId', found)} "
                f"FROM export.{table} WHERE {_TIMED}"
            )
    if copies:
        if not {"bytes", "copyKind"} <= copies:
            problem = f"{COPY_TABLE} lacks `bytes` or `copyKind`"
            raise InputError(path, problem, "export it with a known nsys version")
        host = f"CASE copyKind WHEN {H2D} THEN {_or('srcKind', copies)} ELSE {_or('dstKind', copies)} END"
        work.execute(
            f"INSERT INTO gpu SELECT CASE WHEN copyKind IN ({H2D}, {D2H}) THEN copyKind ELSE {OTHER} END, "
            f"start, end, bytes, ({host}) = {PINNED}, {_or('correlationId', copies)} "
            f"FROM export.{COPY_TABLE} WHERE {_TIMED}"
        )
    for table in LAUNCH_TABLES:
        found = _columns(work, table)
        if "correlationId" in found:
            thread = _or("globalTid", found, _or("threadId", found, "0"))
            work.execute(
                f"INSERT INTO launch SELECT {thread}, start, end, correlationId FROM export.{table} "
                f"WHERE start BETWEEN {-LATEST_NS} AND {LATEST_NS}"
            )


def _copy_ranges(work: sqlite3.Connection) -> None:
    """Copy the NVTX ranges whose text ends in a number, which is the batch."""
    found = _columns(work, "NVTX_EVENTS")
    if not found:
        return
    strings = "textId" in found and {"id", "value"} <= _columns(work, "StringIds", set())
    text = f"COALESCE({_or('text', found)}, s.value)" if strings else _or("text", found)
    join = " LEFT JOIN export.StringIds s ON s.id = e.textId" if strings else ""
    kinds = f"e.eventType IN {RANGE_EVENTS} AND" if "eventType" in found else ""
    thread = _or("globalTid", found, _or("threadId", found, "0"))
    for name, pattern, group in (
        ("batch_of", _BATCH, 1),
        ("stage_of", _CPU_STAGE, 1),
        ("bytes_of", _CPU_STAGE, 2),
    ):
        work.create_function(name, 1, partial(_part, pattern, group), deterministic=True)
    work.execute(
        f"INSERT INTO range SELECT {thread}, start, end, batch_of({text}) AS batch, stage_of({text}), "
        f"bytes_of({text}) FROM export.NVTX_EVENTS e{join} WHERE {kinds} end IS NOT NULL AND batch IS NOT NULL"
    )


def _stages_as_work(work: sqlite3.Connection) -> int:
    """Take the ranges of the runner's CPU device as its work; returns how many there are."""
    work.execute(
        f"INSERT INTO gpu SELECT CASE stage WHEN 'h2d' THEN {H2D} WHEN 'd2h' THEN {D2H} ELSE {KERNEL} END, start, "
        "end, bytes, NULL, rowid FROM range WHERE stage IS NOT NULL"
    )
    return work.execute(
        "INSERT INTO launch SELECT thread, start, end, rowid FROM range WHERE stage IS NOT NULL"
    ).rowcount


def _part(pattern: re.Pattern[str], group: int, text: str | None) -> int | str | None:
    """A part of a range's text, as a number where it is one; None where the text has not the form."""
    match = pattern.search(text or "")
    return (int(match[group]) if match[group].isdigit() else match[group]) if match else None
