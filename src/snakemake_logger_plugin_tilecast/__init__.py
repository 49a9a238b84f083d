"""`snakemake --logger tilecast`: one line a finished job, errors in full, and at the end where the time went."""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

LONGEST = 5  # steps named at the end


class LogHandler(LogHandlerBase):  # type: ignore[misc]
    """Writes to stderr; what it leaves out is in .snakemake/log."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.rules: dict[int, str] = {}  # of each job
        self.begun: dict[int, float] = {}
        self.seconds: dict[str, float] = {}  # by rule, all its jobs together
        self.started, self.done, self.total = time.monotonic(), 0, 0

    def emit(self, record: logging.LogRecord) -> None:
        """One record of Snakemake as at most one line."""
        event = getattr(record, "event", None)
        if event is LogEvent.RUN_INFO:
            self.total = dict(getattr(record, "stats", {})).get("total", 0)
        elif event is LogEvent.JOB_INFO:
            job = self._of(record, "jobid")
            self.rules[job], self.begun[job] = str(getattr(record, "rule_name", "")), time.monotonic()
        elif event is LogEvent.JOB_FINISHED:
            self._finished(self._of(record, "job_id"))
        elif record.levelno >= logging.WARNING or event in (LogEvent.ERROR, LogEvent.JOB_ERROR):
            self._say(shortened(record.getMessage()))

    def close(self) -> None:
        """Where the time went: the longest steps, of all that ran."""
        if self.seconds:
            longest = sorted(self.seconds, key=lambda name: -self.seconds[name])[:LONGEST]
            words = ", ".join(f"{name} {self.seconds[name]:.1f} s" for name in longest)
            self._say(f"{self.done} steps in {time.monotonic() - self.started:.0f} s; longest: {words}")
            self.seconds.clear()
        super().close()

    def _finished(self, job: int) -> None:
        rule = self.rules.get(job, "")
        spent = time.monotonic() - self.begun.get(job, time.monotonic())
        self.seconds[rule] = self.seconds.get(rule, 0) + spent
        self.done += 1
        self._say(f"{self.done:>{len(str(self.total))}} of {self.total}  {spent:6.1f} s  {rule}")

    @staticmethod
    def _of(record: Any, name: str) -> int:
        return int(getattr(record, name, getattr(record, "jobid", -1)))

    @staticmethod
    def _say(line: str) -> None:
        if line:
            print(line, file=sys.stderr, flush=True)


def shortened(said: str) -> str:
    """An error of Snakemake's without what the workflow, or Snakemake itself, has said already."""
    if "Directory cannot be locked." in said:
        return "Directory cannot be locked."  # the rest supposes that no run lives; the workflow has named it
    if "At least one job did not complete successfully." in said:
        return ""  # each of them was told of
    if ended := re.search(r"died with <Signals\.(\w+): |returned non-zero exit status (130|143)\.", said):
        name = ended[1] or {"130": "SIGINT", "143": "SIGTERM"}[ended[2]]
        return f"a step was ended by {name}" + ", as happens when memory is short" * (name == "SIGKILL")
    return said
