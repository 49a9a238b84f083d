"""A clone in a folder with an odd name works, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import copy_tree

TARGET = "results/tidy/labels.csv"


@pytest.mark.parametrize("name", ['it\'s "here"', "größe\n尺寸"])
def test_a_clone_in_an_odd_folder_works(tmp_path: Path, name: str) -> None:
    copy = copy_tree(tmp_path / name)
    copy.snakemake(TARGET)
    assert (copy.root / TARGET).is_file()


@pytest.mark.parametrize("name", ["a:b", "a{b}c"])
def test_a_clone_whose_path_cannot_work_is_refused(tmp_path: Path, name: str) -> None:
    run = copy_tree(tmp_path / name).snakemake(TARGET, fails=True)
    assert "a path with a colon or a brace cannot be used" in run.output
    assert "Traceback" not in run.output
