"""What a workflow script does around its one function."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tilecast.base.errors import InputError
from tilecast.base.job import run_step


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The part of the `snakemake` object that a step reads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return SimpleNamespace(log=[str(tmp_path / "logs/step.log")], threads=3)


def test_prints_go_to_the_log(job: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    run_step(lambda word: print(word), job, word="grüß")
    assert Path(job.log[0]).read_text() == "grüß\n"
    assert capsys.readouterr().out == ""


def test_without_a_log_prints_stay(job: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    job.log = []
    run_step(lambda: print("here"), job)
    assert capsys.readouterr().out == "here\n"


def test_threads_follow_the_rule(job: SimpleNamespace) -> None:
    seen: list[str] = []
    run_step(lambda: seen.append(os.environ["OMP_NUM_THREADS"]), job)
    assert seen == ["3"]


def test_bad_input_is_one_line_here_and_in_the_log(
    job: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    def read() -> None:
        print("reading")
        raise InputError("labels.csv, line 3", "latency_ms is\nnegative", "remove the row")

    with pytest.raises(SystemExit) as caught:
        run_step(read, job)
    assert caught.value.code == 1
    line = "labels.csv, line 3: latency_ms is negative; remove the row\n"
    assert capsys.readouterr().err == f"tilecast: error: {line}"
    assert Path(job.log[0]).read_text() == f"reading\nerror: {line}"


def test_a_defect_of_ours_keeps_its_traceback(job: SimpleNamespace) -> None:
    with pytest.raises(ZeroDivisionError):
        run_step(lambda: 1 / 0, job)  # type: ignore[arg-type, return-value]
