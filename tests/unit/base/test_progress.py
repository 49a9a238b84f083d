"""What is said of slow work: nothing at first, then a line; on a terminal one that moves and goes."""

from __future__ import annotations

import io
import sys
import time

import pytest

from tilecast.base import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float) -> str:
    """What is written while work takes so long, with hundredths of a second for seconds."""
    monkeypatch.setattr(progress, "SILENT_S", 0.05)
    monkeypatch.setattr(progress, "STEP_S", 0.02)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.doing("counting"), progress.doing("a part of it"):
        time.sleep(seconds)
    return stream.getvalue()


def test_a_file_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, io.StringIO(), 0.3) == "tilecast: counting\n"


def test_a_terminal_gets_a_line_that_moves_and_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    words = said(monkeypatch, Terminal(), 0.5)
    assert words.startswith("tilecast: counting\rtilecast: counting, 0 s")
    assert words.endswith("\r\x1b[K") and "\n" not in words


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_of_what_is_quick_nothing_is_said(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, stream, 0.0) == ""


def test_without_stderr_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress.doing("counting"):
        pass
