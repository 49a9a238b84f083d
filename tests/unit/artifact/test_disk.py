"""A full disk and a folder one may not write to: one line, and nothing half-written stays."""

import os
import random
import subprocess

import numpy as np
import pandas as pd
import pytest

from tilecast.artifact.fetch import write_archive
from tilecast.base.errors import TilecastError
from tilecast.tables.io import write_presented


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_an_archive_that_does_not_fit(small_disk):
    data = random.Random(1).randbytes(200_000)
    with pytest.raises(TilecastError, match=r"a\.zip: cannot be written \(No space left on device\)"):
        write_archive(small_disk / "a.zip", [("file", data)])
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_table_that_does_not_fit_leaves_the_old_one(small_disk, name):
    write_presented(pd.DataFrame({"x": [1]}), small_disk / name)
    before = (small_disk / name).read_bytes()
    with pytest.raises(TilecastError, match=r"cannot be written .*No space left on device"):
        write_presented(pd.DataFrame({"x": np.random.default_rng(1).random(100_000)}), small_disk / name)
    assert [file.name for file in small_disk.iterdir()] == [name]
    assert (small_disk / name).read_bytes() == before


def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user, as root, may write everywhere")
    with pytest.raises(TilecastError, match=r"cannot be written \(Permission denied\)"):
        write_presented(pd.DataFrame({"x": [1]}), tmp_path / "t.csv")
