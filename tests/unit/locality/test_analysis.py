"""Profiles with known answers, written here in the documented schema; a real export where it can be made."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.locality.analysis import analyse, analyse_folder, length, merged, metrics, overlap, profiles_in
from tilecast.locality.export import opened

MS = 1_000_000
NVTX = (
    "CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, text TEXT, "
    "globalTid INTEGER, textId INTEGER)"
)
RUNTIME = (
    "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER, "
    "correlationId INTEGER)"
)
KERNELS = (
    "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, correlationId INTEGER)"
)
COPIES = (
    "CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, bytes INTEGER, copyKind INTEGER, "
    "srcKind INTEGER, dstKind INTEGER, correlationId INTEGER)"
)
STRINGS = "CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
NAME = "pipeline_gpu0_numa0_vit32x2x128"


def export(path: Path, batches: int = 4, event: int = 59, registered: bool = False, kernels: int = 2) -> Path:
    """Batches 4 ms apart: copy in 0-1 ms (1e6 bytes), kernels of 1 ms each from 1 ms on, copy out of 0.5 ms after.

    Work runs 10 ms after the range that launched it, as on a GPU that is behind; an unrelated range is in between.
    """
    work = sqlite3.connect(path)
    for statement in (NVTX, RUNTIME, KERNELS, COPIES, *([STRINGS] if registered else [])):
        work.execute(statement)
    correlation = 0
    for batch in range(batches):
        at = 4 * batch * MS
        for stage, pieces in (("h2d", 1), ("compute", kernels), ("d2h", 1)):
            begin = at + {"h2d": 0, "compute": 100, "d2h": 200}[stage]
            label: tuple[Any, Any] = (f"{stage}:{batch}", None)
            if registered:
                key = work.execute("INSERT INTO StringIds (value) VALUES (?)", (label[0],)).lastrowid
                label = (None, key)
            work.execute("INSERT INTO NVTX_EVENTS VALUES (?, ?, ?, ?, 7, ?)", (begin, begin + 50, event, *label))
            for piece in range(pieces):
                correlation += 1
                launch = (begin + piece, begin + piece + 1, 0, 7, correlation)
                work.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?)", launch)
                if stage == "compute":
                    start = at + (11 + piece) * MS
                    row = (start, start + MS, 0, correlation)
                    work.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?)", row)
                    continue
                copy, start, end = (1, 10, 11) if stage == "h2d" else (2, 11 + kernels, 11.5 + kernels)
                pinned, device = (1, 2) if copy == 1 else (2, 1)
                work.execute(
                    "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (?, ?, 1000000, ?, ?, ?, ?)",
                    (at + int(start * MS), at + int(end * MS), copy, pinned, device, correlation),
                )
    work.execute("INSERT INTO NVTX_EVENTS VALUES (0, 900, ?, 'warm up', 7, NULL)", (event,))
    work.execute("INSERT INTO NVTX_EVENTS VALUES (0, NULL, 34, 'a mark 3', 7, NULL)")
    work.commit()
    work.close()
    return path


@pytest.mark.parametrize(("event", "registered"), [(59, False), (60, False), (59, True), (70, True)])
def test_an_export_with_known_answers(event: int, registered: bool, tmp_path: Path) -> None:
    found, drawn = analyse(export(tmp_path / "a.sqlite", event=event, registered=registered), 10)
    assert found["kernels"] == 8 and found["kernel_ms"] == found["kernel_busy_ms"] == pytest.approx(8)
    assert (found["h2d_copies"], found["h2d_bytes"], found["d2h_bytes"]) == (4, 4_000_000, 4_000_000)
    assert found["h2d_p50_bytes_per_s"] == found["h2d_p99_bytes_per_s"] == pytest.approx(1e9)
    assert found["d2h_p50_bytes_per_s"] == pytest.approx(2e9)
    assert found["h2d_pinned_percent"] == 100
    assert found["overlap_percent"] == 0
    assert found["batches"] == 4
    assert found["batch_p50_ms"] == pytest.approx(3.5)  # first copy in to last copy out, on the GPU
    assert found["span_ms"] == pytest.approx(15.5)
    assert found["busy_percent"] == pytest.approx(100 * 14 / 15.5)
    assert found["gap_p50_ms"] == pytest.approx(2)
    assert found["launch_p50_ms"] == pytest.approx(11.4, abs=0.2)
    assert found["profiled_per_s"] == pytest.approx(4 * 10 / 15.5e-3)
    assert [row["batch"] for row in drawn] == [1] * 4 + [2] * 4
    assert drawn[0] == {"batch": 1, "stage": "h2d", "start_ms": 0.0, "end_ms": 1.0}


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIRTUAL TABLE NVTX_EVENTS USING fts5(start, end, eventType, text, globalTid, textId)",
        "CREATE VIEW NVTX_EVENTS AS SELECT * FROM stored",
        "CREATE TABLE NVTX_EVENTS AS SELECT * FROM stored",
    ],
)
def test_only_stored_tables_are_read(statement: str, tmp_path: Path) -> None:
    """A view or a virtual table runs what its maker wrote: it counts as not there, whatever it holds."""
    path = export(tmp_path / "a.sqlite")
    work = sqlite3.connect(path)
    work.execute("ALTER TABLE NVTX_EVENTS RENAME TO stored")
    work.execute(statement)
    if "VIRTUAL" in statement:
        work.execute("INSERT INTO NVTX_EVENTS SELECT * FROM stored")
    work.commit()
    held = work.execute("SELECT COUNT(*) FROM NVTX_EVENTS WHERE eventType = 59 AND text LIKE '%:%'").fetchone()[0]
    work.close()
    assert held == 12  # SQLite itself would read them
    with opened(path) as copied:
        assert copied.execute("SELECT COUNT(*) FROM gpu").fetchone()[0] == 16
        read = copied.execute("SELECT COUNT(*) FROM range").fetchone()[0]
    assert read == (12 if statement.startswith("CREATE TABLE") else 0)


def test_the_profile_is_opened_so_that_nothing_can_be_written(tmp_path: Path) -> None:
    path = export(tmp_path / "a.sqlite")
    with opened(path) as work:
        for statement in ("DELETE FROM export.NVTX_EVENTS", "CREATE TABLE export.mine (a)"):
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                work.execute(statement)


def test_the_export_is_not_changed(tmp_path: Path) -> None:
    path = export(tmp_path / "a.sqlite")
    before = path.read_bytes()
    analyse(path)
    assert path.read_bytes() == before and sorted(file.name for file in tmp_path.iterdir()) == ["a.sqlite"]


def test_missing_tables_leave_their_measures_out(tmp_path: Path) -> None:
    path = export(tmp_path / "a.sqlite")
    with sqlite3.connect(path) as work:
        work.execute("DROP TABLE NVTX_EVENTS")
    found, drawn = analyse(path)
    assert (found["batches"], found["batch_p50_ms"], drawn) == (0, None, [])
    assert found["kernels"] == 8
    with sqlite3.connect(path) as work:
        work.execute("DROP TABLE CUPTI_ACTIVITY_KIND_KERNEL")
        work.execute("DROP TABLE CUPTI_ACTIVITY_KIND_RUNTIME")
    found, _ = analyse(path)
    assert (found["kernels"], found["gap_p50_ms"], found["launch_p50_ms"], found["h2d_copies"]) == (
        0,
        None,
        None,
        4,
    )


def test_an_old_schema_without_kinds_of_memory_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as work:
        work.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL (start INT, end INT)")
        work.execute("INSERT INTO CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL VALUES (0, 10), (20, 30)")
        work.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, bytes INT, copyKind INT)")
        work.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (5, 25, 100, 1)")
        work.execute("CREATE TABLE NVTX_EVENTS (start INT, end INT, text TEXT, threadId INT)")
    found, _ = analyse(path)
    assert (found["kernels"], found["h2d_pinned_percent"], found["overlap_percent"]) == (2, None, 50)


@pytest.mark.slow
def test_a_hundred_thousand_kernels(tmp_path: Path) -> None:
    found, _ = analyse(export(tmp_path / "a.sqlite", batches=2000, kernels=50))
    assert (found["kernels"], found["batches"], found["h2d_copies"]) == (100_000, 2000, 2000)
    assert found["kernel_ms"] == pytest.approx(100_000)
    assert found["batch_p50_ms"] == pytest.approx(51.5)
    assert found["kernel_busy_ms"] == pytest.approx(4 * 1999 + 50)  # batches 4 ms apart, 50 ms of kernels each


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 15)), max_size=25)


def covered(pairs: list[tuple[int, int]]) -> set[int]:
    """The unit cells of time that intervals (start, duration) cover."""
    return {point for start, duration in pairs for point in range(start, start + duration)}


def arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    ordered = sorted((start, start + duration) for start, duration in pairs)
    return tuple(np.array([pair[side] for pair in ordered], dtype=np.int64) for side in (0, 1))  # type: ignore[return-value]


@given(intervals)
def test_the_union_is_what_counting_gives(pairs: list[tuple[int, int]]) -> None:
    starts, ends = merged(*arrays(pairs))
    assert length(*arrays(pairs)) == len(covered(pairs)) == int((ends - starts).sum())
    assert all(ends[:-1] < starts[1:])


@given(intervals, intervals)
def test_the_overlap_is_what_counting_gives(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    assert overlap(arrays(one), arrays(other)) == len(covered(one) & covered(other))


@settings(max_examples=15, deadline=None)
@given(kernels=intervals.filter(bool), copies=intervals.filter(bool))
def test_sql_and_counting_agree_on_a_whole_export(
    kernels: list[tuple[int, int]], copies: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("export") / "a.sqlite"
    with sqlite3.connect(path) as work:
        work.execute(KERNELS)
        work.execute(COPIES)
        work.executemany(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 0, 0)", [(s, s + d) for s, d in kernels]
        )
        work.executemany(
            "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (?, ?, 8, 1, 1, 2, 0)", [(s, s + d) for s, d in copies]
        )
    found, _ = analyse(path)
    assert round(found["kernel_busy_ms"] * MS) == len(covered(kernels))
    both, copying = covered(kernels) & covered(copies), covered(copies)
    assert found["overlap_percent"] == (pytest.approx(100 * len(both) / len(copying)) if copying else None)


def trace(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"traceEvents": [{"ph": "X", "tid": 1, **event} for event in events]}))
    return path


def test_a_trace_of_torch_says_the_same(tmp_path: Path) -> None:
    events = []
    for batch in range(4):
        at = 4000.0 * batch
        for stage, begin, cat, name, start, duration in (
            ("h2d", 0, "gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 10_000, 1000),
            ("compute", 100, "kernel", "gemm", 11_000, 2000),
            ("d2h", 200, "gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 13_000, 500),
        ):
            key = {"correlation": 10 * batch + begin, "bytes": 1_000_000}
            events += [
                {"cat": "user_annotation", "name": f"{stage}:{batch}", "ts": at + begin, "dur": 50},
                {"cat": "cuda_runtime", "name": "launch", "ts": at + begin + 1, "dur": 1, "args": key},
                {"cat": cat, "name": name, "ts": at + start, "dur": duration, "args": key},
            ]
    found, drawn = analyse(trace(tmp_path / "a.json", events), 10)
    assert found["h2d_p50_bytes_per_s"] == pytest.approx(1e9) and found["h2d_pinned_percent"] == 100
    assert (found["kernels"], found["batches"], found["batch_p50_ms"]) == (4, 4, 3.5)
    assert found["busy_percent"] == pytest.approx(100 * 14 / 15.5)
    assert {row["stage"] for row in drawn} == {"h2d", "compute", "d2h"}


def test_ranges_of_the_cpu_device_are_its_work(tmp_path: Path) -> None:
    events = [
        {"cat": "user_annotation", "name": f"cpu {stage} {size}:{batch}", "ts": 10.0 * batch + start, "dur": 3}
        for batch in range(3)
        for stage, size, start in (("h2d", 3000, 0), ("compute", 0, 3), ("d2h", 300, 6))
    ]
    found, _ = analyse(trace(tmp_path / "a.json", events), 1)
    assert found["h2d_p50_bytes_per_s"] == pytest.approx(1e9)
    assert (found["batches"], found["kernels"], found["batch_p50_ms"]) == (3, 3, pytest.approx(0.009))


def bad(folder: Path) -> dict[str, str]:
    """Files that cannot be analysed, and the words expected of each."""
    whole = export(folder / "whole.sqlite", batches=60)
    (folder / f"{NAME}.sqlite").write_bytes(whole.read_bytes()[:9000])
    whole.unlink()
    (folder / "pipeline_gpu1_numa0_vit32x2x128.sqlite").write_text("no database")
    with sqlite3.connect(folder / "pipeline_gpu2_numa0_vit32x2x128.sqlite") as work:
        work.execute(NVTX)
    export(folder / "results.sqlite")
    (folder / "pipeline_gpu3_numa0_vit32x2x128.json").write_text("{}")
    return {
        NAME: "is truncated: 9000 of",
        "pipeline_gpu1_numa0_vit32x2x128": "is not a SQLite file",
        "pipeline_gpu2_numa0_vit32x2x128": "has no CUDA tables",
        "results": "the name does not parse",
        "pipeline_gpu3_numa0_vit32x2x128": "is not a trace of torch's profiler",
    }


def test_a_bad_profile_is_one_line_and_the_others_are_unharmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = bad(tmp_path)
    export(tmp_path / "pipeline_gpu0_numa2_mem0_vit16x8x768_bf16.sqlite")
    rows = {row["cell"]: row for row in analyse_folder(profiles_in(tmp_path), 10)}
    good = rows.pop("pipeline_gpu0_numa2_mem0_vit16x8x768_bf16")
    assert good["status"] == "ok" and (good["cpu_node"], good["memory_node"], good["dtype"]) == (2, 0, "bf16")
    assert sorted(rows) == sorted(words)
    for name, expected in words.items():
        assert rows[name]["status"] == "failed" and expected in rows[name]["reason"]
    output = tmp_path / "out.csv"
    assert main(["numa", "analyze", str(tmp_path), "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert "pipeline_gpu0_numa2_mem0_vit16x8x768_bf16" in said.out and "1 of 6 profiles analysed" in said.err
    assert len([line for line in said.err.splitlines() if line.startswith("tilecast: error: ")]) == len(words)
    assert len(output.read_text().splitlines()) == 7


def test_a_database_damaged_inside_is_one_line(tmp_path: Path) -> None:
    path = export(tmp_path / "a.sqlite", batches=200)
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"cannot be read as SQLite|has no CUDA tables"):
        analyse(path)


@pytest.mark.parametrize(("make", "words"), [(False, "is not a directory"), (True, "has no profile")])
def test_a_folder_without_profiles_is_refused(make: bool, words: str, tmp_path: Path) -> None:
    if make:
        (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        profiles_in(tmp_path / "empty")


def test_a_report_needs_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilecast.locality.convert.nsys", lambda: None)
    (tmp_path / "a.nsys-rep").write_bytes(b"")
    with pytest.raises(InputError, match="needs nsys to be converted"):
        analyse(tmp_path / "a.nsys-rep")


def test_one_correlation_id_for_everything_is_refused_not_joined_without_end(tmp_path: Path) -> None:
    path = export(tmp_path / f"{NAME}.sqlite")
    with sqlite3.connect(path) as work:
        for table in ("CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL"):
            columns = [row[1] for row in work.execute(f"PRAGMA table_info({table})")]
            values = ", ".join("1" if name == "start" else "2" if name == "end" else "7" for name in columns)
            work.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                f"INSERT INTO {table} SELECT {values} FROM n"
            )
    with pytest.raises(InputError, match="correlation ids"), opened(path):
        pass


def test_a_database_whose_last_changes_lie_beside_it_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path / f"{NAME}.sqlite")

    def counted() -> int:
        with opened(path) as found:
            return int(found.execute("SELECT COUNT(*) FROM gpu").fetchone()[0])

    before, work = counted(), sqlite3.connect(path)
    work.execute("PRAGMA journal_mode=WAL")
    work.execute("DELETE FROM CUPTI_ACTIVITY_KIND_KERNEL")
    work.commit()
    with pytest.raises(InputError, match=f"is not whole: {NAME}.sqlite-wal holds changes to it"):
        counted()
    work.close()  # which carries them over
    assert 0 < counted() < before


def test_times_that_would_overflow_do_not_count(tmp_path: Path) -> None:
    path = export(tmp_path / f"{NAME}.sqlite")
    with opened(path) as work:
        before = metrics(work, 10)
    with sqlite3.connect(path) as work:
        columns = [row[1] for row in work.execute("PRAGMA table_info(CUPTI_ACTIVITY_KIND_KERNEL)")]
        values = [{"start": -(2**63), "end": 2**63 - 1}.get(name, 0) for name in columns]
        work.execute(f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({', '.join('?' * len(columns))})", values)
    with opened(path) as work:
        assert metrics(work, 10) == before
