"""Says on stderr what takes longer than a second: one moving line on a terminal, a plain line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SILENT_S, STEP_S = 1.0, 0.25
_running = threading.Lock()  # what runs within something that is said already is not said again


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Within: `what` is said once a second has passed, on a terminal with the seconds since."""
    if sys.stderr is None or not _running.acquire(blocking=False):
        yield
        return
    stream, start, done = sys.stderr, time.monotonic(), threading.Event()
    moving = stream.isatty()

    def say() -> None:
        if done.wait(SILENT_S):
            return
        stream.write(f"tilecast: {what}" + ("" if moving else "\n"))
        while moving and not done.wait(STEP_S):
            stream.write(f"\rtilecast: {what}, {time.monotonic() - start:.0f} s")
            stream.flush()
        if moving:
            stream.write("\r\x1b[K")
        stream.flush()

    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()
        _running.release()
