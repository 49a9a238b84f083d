"""Results that were garbled, cut, removed or added behind the run's back are named, and made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from copies import Copy
from smoke import arguments, smoke

pytestmark = pytest.mark.slow
COMMAND = arguments("smoke", "results/manifest.csv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke workflow and its manifest, run to their end."""
    copy = smoke(tmp_path_factory.mktemp("made"))
    copy.snakemake(*COMMAND)
    return copy.root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Copy:
    """The same in a folder beside it: the way to the workflow's own files is part of what Snakemake remembers."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return smoke(tmp_path)


def checked(copy: Copy) -> tuple[int, list[str], str]:
    """Exit code and lines of `tilecast check results`, and the arguments by which it says snakemake mends them."""
    command = [sys.executable, "-m", "tilecast", "check", "results"]
    done = subprocess.run(command, cwd=copy.root, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    advice = done.stderr.partition("made anew by: snakemake --cores all ")[2].partition(" && make reproduce")[0]
    return done.returncode, done.stdout.splitlines(), advice


def behind_its_back(path: Path, data: bytes) -> None:
    """New content under the old time stamp."""
    about = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_what_changed_is_named_removed_and_made_anew(copy: Copy) -> None:
    whole = copy.results()
    assert checked(copy) == (0, ["results: every file is as the run made it"], "")
    assert copy.snakemake("--dry-run", *COMMAND).output.count("Nothing to be done") == 1

    results = copy.root / "results"
    labels, mape, drawing = (results / name for name in ("tidy/labels.csv", "tables/mape.csv", "figures/amd.svg"))
    behind_its_back(labels, labels.read_bytes().replace(b"training", b"TRAINING", 1))
    behind_its_back(mape, mape.read_bytes()[:-20])
    drawing.unlink()
    (results / "tidy/extra.csv").write_text("a\n1\n")
    (results / "measured/mine").mkdir(parents=True)
    (results / "measured/mine/kernels-001.parquet").write_bytes(b"raw")  # of the machine at hand: no result
    code, lines, advice = checked(copy)
    assert code == 1
    assert lines[0] == "results/figures/amd.svg: is missing"
    assert lines[1].startswith("results/tables/mape.csv: is cut short: ")
    assert lines[2] == "results/tidy/labels.csv: is not what the run made (its checksum differs)"
    assert lines[3:] == ["results/tidy/extra.csv: is foreign: no step of the workflow makes it"]

    copy.snakemake(*arguments(*advice.split()))
    copy.snakemake(*COMMAND)
    assert checked(copy)[:2] == (1, lines[3:])  # a user's file is not taken from them
    (results / "tidy/extra.csv").unlink()
    assert checked(copy)[0] == 0
    (results / "measured/mine/kernels-001.parquet").unlink()
    assert copy.results() == whole


def test_a_later_run_does_not_take_a_garbled_file_for_sound(copy: Copy) -> None:
    """The manifest is written anew after any change; what was garbled meanwhile must not get into it."""
    table = copy.root / "results/tables/mape.csv"
    behind_its_back(table, table.read_bytes() + b"\n")
    (copy.root / "results/figures/amd.svg").unlink()
    run = copy.snakemake(*COMMAND, fails=True)
    assert "results/tables/mape.csv: changed after a run had made it" in run.output
    assert "Traceback" not in run.output
    copy.snakemake(*COMMAND, "--forcerun", "results/tables/mape.csv")
    assert checked(copy)[0] == 0


def test_without_a_manifest_the_check_says_where_one_comes_from(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    command = [sys.executable, "-m", "tilecast", "check", "results"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    line = "tilecast: error: results/manifest.csv: does not exist; a whole run writes it: make reproduce"
    assert (done.returncode, done.stderr.strip()) == (1, line)
