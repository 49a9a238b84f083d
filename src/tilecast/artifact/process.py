"""Run a command that fetches from a network: it waits for no input, and ends within a set time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Any, NamedTuple


class Unavailable(Exception):
    """This source cannot serve just now; the next one is tried."""


class Ended(NamedTuple):
    """What a command left: exit code, standard output, lines of standard error."""

    code: int
    output: bytes
    errors: list[str]


def run(command: list[str], name: str, timeout_s: float, feed: bytes = b"", **options: Any) -> Ended:
    """Run a command, with options of Popen; its whole process group is gone when this returns or raises."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        process: Any = subprocess.Popen(command, start_new_session=True, **streams | options)
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be started ({error.strerror})") from None
    try:
        out, err = process.communicate(feed, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} did not end within {timeout_s:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return Ended(process.returncode, out or b"", err.decode(errors="replace").strip().splitlines())
