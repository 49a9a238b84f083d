"""Work in a forked process of its own, which ends with all that it started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """What a forked process left: its words, its exit code or minus its signal, and whether it had to be ended."""

    words: str
    code: int
    late: bool


def forked(work: Callable[[int], int], seconds: float, of_silence: bool = False) -> Ended:
    """Call `work` in a forked process with a pipe to write its words into; what it returns is the exit code.

    It has `seconds` in all or, `of_silence`, from one word to the next. Whatever it started ends with it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reading)
        code = 99
        with contextlib.suppress(BaseException):
            code = work(writing)
        os._exit(code)
    os.close(writing)
    words, end, late = b"", time.monotonic() + seconds, False
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while not (late := not select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]):
            if not (read := pipe.read(1 << 16)):
                break
            words += read
            end = time.monotonic() + seconds if of_silence else end
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(words.decode(errors="replace"), code, late)
