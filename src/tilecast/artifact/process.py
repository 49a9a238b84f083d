"""Run a command that fetches from a network: it waits for no input, and ends within a set time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO


class Unavailable(Exception):
    """This source cannot serve just now; the next one is tried."""


def run(
    command: list[str], name: str, timeout_s: float, *, feed: bytes = b"", output: IO[bytes] | None = None,
    folder: Path | None = None, environment: Mapping[str, str] | None = None,
) -> tuple[int, bytes, list[str]]:  # fmt: skip
    """Exit code, standard output and lines of standard error; the whole process group is gone afterwards."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
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
    return process.returncode, out or b"", err.decode(errors="replace").strip().splitlines()
