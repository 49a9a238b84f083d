"""The manifest of results: every file of the run in it, and every change named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilecast.base.errors import InputError
from tilecast.cli import main
from tilecast.tables.results import FOREIGN, problems, write_manifest

MADE = ["a/*.csv", "b/one.txt", "study/*", "never/made.csv", "manifest.csv"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a run, with a log, a checkpoint and what was made on request."""
    folder = tmp_path / "results"
    for name in ("a/x.csv", "a/y.csv", "b/one.txt", "study/small/runs.csv", "logs/x.log", "b/.one.checkpoint"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}\n")
    return folder


def written(folder: Path) -> list[str]:
    table = write_manifest(folder, MADE, ["logs/*"], folder.parent / "state.json")
    return list(table.loc[table["sha256"].notna(), "path"])


def test_it_lists_what_steps_made_and_nothing_else(folder: Path) -> None:
    assert written(folder) == ["a/x.csv", "a/y.csv", "b/one.txt", "study/small/runs.csv"]
    first = (folder / "manifest.csv").read_bytes()
    assert problems(folder) == []
    written(folder)
    assert (folder / "manifest.csv").read_bytes() == first  # the same results, the same bytes


def test_every_kind_of_change_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(folder)
    (folder / "a/x.csv").write_text("content of a/X.csv\n")
    (folder / "a/y.csv").write_text("content\n")
    (folder / "b/one.txt").unlink()
    (folder / "study/small/runs.csv").write_text("content of study/small/runs.csv\nmore\n")
    for name in ("b/two.txt", "logs/y.log", "never/made.csv", "study/other/runs.csv", "b/.two.checkpoint"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("new")
    differs = "is not what the run made (its checksum differs)"
    assert problems(folder) == [
        ("a/x.csv", differs),
        ("a/y.csv", "is cut short: 8 of 19 bytes"),
        ("b/one.txt", "is missing"),
        ("study/small/runs.csv", differs),
        ("b/two.txt", FOREIGN),
    ]
    assert main(["check", str(folder)]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 5
    assert (
        f"--force {folder}/a/x.csv {folder}/a/y.csv {folder}/b/one.txt {folder}/study/small/runs.csv" in said.err
    )


def test_a_pipe_in_place_of_a_result_is_not_waited_for(folder: Path) -> None:
    written(folder)
    (folder / "a/x.csv").unlink()
    os.mkfifo(folder / "a/x.csv")
    assert problems(folder) == [("a/x.csv", "is missing")]


def test_a_file_changed_under_its_old_time_stamp_does_not_get_into_the_manifest(folder: Path) -> None:
    written(folder)
    file, about = folder / "a/x.csv", (folder / "a/x.csv").stat()
    file.write_text("garbled")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(InputError, match=r"a/x\.csv: changed after a run had made it, its time stamp kept"):
        written(folder)
    file.write_text("made anew")
    assert "a/x.csv" in written(folder)
