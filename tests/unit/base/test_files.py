"""Files are whole or not there at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tilecast.base.errors import TilecastError
from tilecast.base.files import atomic_path, write_bytes, write_text


def names(folder: Path) -> list[str]:
    """What a folder holds, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there_with_its_folder(tmp_path: Path) -> None:
    target = tmp_path / "new/folder/ä.txt"
    write_text(target, "grün\n")
    assert target.read_bytes() == "grün\n".encode()
    assert target.stat().st_mode & 0o777 == 0o644
    assert names(target.parent) == ["ä.txt"]


@pytest.mark.parametrize("failure", [RuntimeError("interrupted"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "table.csv"
    write_bytes(target, b"old")
    with pytest.raises(type(failure)), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["table.csv"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    with pytest.raises(TilecastError, match=r"table\.csv: cannot be written \(No space left"), atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TilecastError, match="cannot be written"):
        write_text(tmp_path / "file/table.csv", "text")


def test_the_temporary_file_keeps_the_ending(tmp_path: Path) -> None:
    """A writer that goes by the ending (Parquet, SVG) writes the same format."""
    with atomic_path(tmp_path / "table.parquet") as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path
