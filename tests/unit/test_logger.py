"""Snakemake's log as a person reads it: one line a finished job, and where the time went."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_tilecast import LogHandler


def record(
    event: LogEvent | None, level: int = logging.INFO, message: str = "", **words: Any
) -> logging.LogRecord:
    made = logging.makeLogRecord({"levelno": level, "msg": message, **words})
    made.event = event
    return made


def test_one_line_a_job_and_the_longest_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogHandler(SimpleNamespace(), None)
    handler.emit(record(LogEvent.RUN_INFO, stats={"total": 2}))
    handler.emit(record(LogEvent.JOB_INFO, message="a page about the job", jobid=7, rule_name="plot_amd"))
    handler.emit(record(LogEvent.JOB_FINISHED, job_id=7))
    handler.emit(record(None, message="Select jobs to execute..."))
    handler.emit(record(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule plot_amd"))
    handler.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["plot_amd", "plot_amd"]
    assert lines[0].startswith("1 of 2")
    assert lines[1] == "Error in rule plot_amd"
    assert lines[2].startswith("1 steps in 0 s; longest: plot_amd 0.0 s")
    assert len(lines) == 3


def test_a_second_run_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogHandler(SimpleNamespace(), None)
    said = "LockException:\nError: Directory cannot be locked. Please make sure ...\n... the --unlock argument."
    handler.emit(record(LogEvent.ERROR, logging.ERROR, said))
    handler.close()
    assert capsys.readouterr().err.splitlines() == ["Directory cannot be locked."]


def test_what_a_signal_ended_is_a_line_and_other_errors_are_told_in_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = LogHandler(SimpleNamespace(), None)
    failed = "RuleException:\nCalledProcessError in file x.smk, line 3:\nCommand 'python a.py' {}"
    for how in (
        "died with <Signals.SIGINT: 2>.",
        "returned non-zero exit status 143.",
        "died with <Signals.SIGKILL: 9>.",
        "returned non-zero exit status 1.",
    ):
        handler.emit(record(LogEvent.ERROR, logging.ERROR, failed.format(how)))
    said = "WorkflowError:\nAt least one job did not complete successfully."
    handler.emit(record(LogEvent.ERROR, logging.ERROR, said))
    assert capsys.readouterr().err.splitlines() == [
        "a step was ended by SIGINT",
        "a step was ended by SIGTERM",
        "a step was ended by SIGKILL, as happens when memory is short",
        *failed.format("returned non-zero exit status 1.").splitlines(),
    ]
